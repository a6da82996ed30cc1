#!/usr/bin/env bash
# Set up everything aifab needs on Debian or Ubuntu: system packages and a Python venv.
#
#   ./provision.sh          what a user needs to run labs
#   ./provision.sh --dev    the same, and what tests and linters need
#
# Idempotent: a second call with nothing to do takes well under a second. Run it as root, or as a
# user with sudo. Variables: AIFAB_VENV (where the venv goes, default .venv beside this script).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${AIFAB_VENV:-$here/.venv}
pip='pip>=24.1,<26'         # later ones print what setuptools warns of, which is nothing for a user
python=/usr/bin/python3     # the distribution's own: the only one that sees the distribution's Mininet
extra=""
for arg in "$@"; do
    case "$arg" in
        --dev) extra="[dev]" ;;
        -h|--help) sed -n '2,8p' "${BASH_SOURCE[0]}" | cut -c3-; exit 0 ;;
        *) echo "provision.sh: unknown option '$arg' (known: --dev)" >&2; exit 2 ;;
    esac
done

packages=(mininet openvswitch-switch iperf3 iproute2 ethtool iputils-ping tcpdump tshark frr gobgpd
          python3-venv python3-setuptools gcc libc6-dev)
# The reports' own test looks at them in a browser; elsewhere Debian's name for it may mean something else.
if [ -n "$extra" ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
    packages+=(chromium)
fi

die() { echo "provision.sh: $*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "system packages are missing (${missing[*]}) and this user is not root and has no sudo;
  run as root: apt-get install ${missing[*]}"
    fi
}

missing=()
for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "this is neither Debian nor Ubuntu: install ${missing[*]} by hand"
    echo "provision.sh: installing ${missing[*]}"
    # An interrupted earlier run may have left dpkg half-configured.
    as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
    # Labs start routers of their own, in namespaces: those that came with the packages just now would run on
    # the machine itself. What was here before stays as it was.
    for service in frr gobgpd; do
        if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" $service "* ]]; then
            as_root systemctl disable --now "$service"
        fi
    done
fi
[ -x "$python" ] || die "$python is missing although python3-venv is installed"

# The stamp names what the venv was made from; a change of any of it rebuilds the venv or brings it up to date.
stamp=$venv/.provisioned
want=$(cat "$here/pyproject.toml" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)$extra
have=$(cat "$stamp" 2>/dev/null || true)
if [ "$have" != "$want" ] && [ "$have" != "${want%\[dev\]}[dev]" ]; then
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        rm -rf "$venv"
        "$python" -m venv --system-site-packages "$venv"
    fi
    # Debian 12's own pip reads a package's version from disk each time it compares it: twice the time for what is there.
    if ! "$venv/bin/python" -c 'import pip; raise SystemExit(int(pip.__version__.split(".")[0]) < 24)'; then
        "$venv/bin/python" -m pip install -q --disable-pip-version-check "$pip"
    fi
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -e "$here$extra"
    echo "$want" > "$stamp"
fi
"$venv/bin/python" -c 'import mininet.net' 2>/dev/null || die "the venv cannot import the distribution's Mininet"
echo "provision.sh: ready ($venv)"
