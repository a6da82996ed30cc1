#!/usr/bin/env bash
# Build the disk of the lab VM: Debian, its stock cloud kernel, and all that provision.sh needs offline.
#
#   vm/build_image.sh DIRECTORY     writes disk.ext4, vmlinuz and initrd.img there; needs root
#
# The packages come in by provision.sh itself, so that the image holds what it asks for and no more.
# Variables: AIFAB_SUITE (default bookworm), AIFAB_MIRROR (default: this machine's own for that suite,
# or else debootstrap's), AIFAB_CACHE (packages already downloaded).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1
suite=${AIFAB_SUITE:-bookworm}
cache=${AIFAB_CACHE:-${HOME:-/root}/.cache/aifab}
size=8G     # sparse: about 2 GB are written

# The kernel is the cloud one: a quarter of the generic one's size, and it has openvswitch, netem, RED, DCTCP, VRF.
base=(systemd-sysv udev dbus kmod linux-image-cloud-amd64 initramfs-tools ca-certificates
      openssh-server rsync sudo make git)

mirror=${AIFAB_MIRROR:-$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 2>/dev/null \
                         | awk -v suite="$suite" '$1 == suite && !found++ { print $2 }' || true)}

mkdir -p "$out" "$cache/debs"
tree=$(mktemp -d "$out/tree.XXXXXX")
# Mounts are made in private namespaces only, so that this cannot reach into the machine.
trap 'rm -rf --one-file-system "$tree"' EXIT

echo "build_image.sh: Debian $suite"
unshare --mount debootstrap --variant=minbase --cache-dir="$(realpath "$cache/debs")" \
    --include="$(IFS=,; echo "${base[*]}")" "$suite" "$tree" ${mirror:+"$mirror"} > "$out/debootstrap.log"

chmod 755 "$tree"       # it becomes the guest's /
printf '#!/bin/sh\nexit 101\n' > "$tree/usr/sbin/policy-rc.d"     # a chroot starts no daemons
chmod +x "$tree/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$tree/etc/resolv.conf"
install -D /etc/ssl/certs/ca-certificates.crt "$tree/run/certificates.crt"
mkdir -p "$tree/vagrant" "$tree/opt/aifab/wheels"
tar c -C "$here/.." --exclude-caches-all --exclude=./.git --exclude=./.venv --exclude=./runs --exclude=./vm-results . \
    | tar x -C "$tree/vagrant"

echo "build_image.sh: provision.sh"
# The machine's own certificates reach pip under a name of their own; paths of the machine mean nothing in there.
unshare --mount --pid --fork --mount-proc="$tree/proc" chroot "$tree" /usr/bin/env \
    -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE -u PIP_FIND_LINKS \
    AIFAB_VENV=/opt/aifab/venv PIP_CERT=/run/certificates.crt bash -euc '
        cd /vagrant
        ./provision.sh --dev
        /opt/aifab/venv/bin/python -m pip wheel -q -w /opt/aifab/wheels ".[dev]" "pip>=24.1,<26" "setuptools>=68" wheel
        rm -f /opt/aifab/wheels/aifab-*.whl
        apt-get clean' > "$out/provision.log" 2>&1 || { tail -20 "$out/provision.log" >&2; exit 1; }
# Without its stamp the environment counts as half made, as after an interruption: in the VM provision.sh and pip
# have to finish it. To make it there from nothing takes an emulated processor ten minutes.
rm -rf "$tree/vagrant" "$tree/opt/aifab/venv/.provisioned" "$tree/usr/sbin/policy-rc.d" "$tree/run/certificates.crt" "$tree/var/lib/apt/lists"/*_Packages

# Inside there is no network: pip takes the wheels.
printf '[global]\nno-index = true\nfind-links = /opt/aifab/wheels\n' > "$tree/etc/pip.conf"
echo aifab > "$tree/etc/hostname"
printf '127.0.0.1 localhost aifab\n' > "$tree/etc/hosts"
printf 'LABEL=aifab / ext4 defaults 0 1\n' > "$tree/etc/fstab"
rm -f "$tree/etc/resolv.conf" "$tree/etc/machine-id"
touch "$tree/etc/machine-id"
# What Vagrant expects of a box: its user with its well-known key (which it replaces at once), sudo, an address.
chroot "$tree" useradd --create-home --shell /bin/bash vagrant
install -D -m 600 "$here/guest/vagrant.pub" "$tree/home/vagrant/.ssh/authorized_keys"
chroot "$tree" chown -R vagrant:vagrant /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$tree/etc/sudoers.d/vagrant"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' > "$tree/etc/systemd/network/ethernet.network"
chroot "$tree" systemctl -q enable systemd-networkd.service
chroot "$tree" systemctl -q disable frr.service gobgpd.service     # labs start routers of their own
install -m 755 "$here/guest/aifab-job" "$tree/usr/local/sbin/aifab-job"
install -m 644 "$here/guest/aifab-job.service" "$tree/etc/systemd/system/aifab-job.service"
chroot "$tree" systemctl -q enable aifab-job.service

cp "$tree"/boot/vmlinuz-* "$out/vmlinuz"
cp "$tree"/boot/initrd.img-* "$out/initrd.img"
rm -f "$out/disk.ext4"
mkfs.ext4 -q -L aifab -d "$tree" "$out/disk.part" "$size"
mv "$out/disk.part" "$out/disk.ext4"
echo "build_image.sh: $(du -h "$out/disk.ext4" | cut -f1) in $out/disk.ext4"
