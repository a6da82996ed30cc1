#!/usr/bin/env bash
# Make a Debian or Ubuntu guest the lab VM: provision.sh, aifab on every PATH, a message of the day.
# Run by Vagrant and by `make vm-test` as root; a second call with nothing to do takes seconds.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=/opt/aifab/venv        # outside of the synced folder, which `vagrant rsync` replaces

install -d /opt/aifab
AIFAB_VENV=$venv bash "$source/provision.sh" --dev
# sudo looks in /usr/local/bin as well, so `sudo aifab` works for everybody.
ln -sf $venv/bin/aifab /usr/local/bin/aifab
echo "export AIFAB_VENV=$venv" > /etc/profile.d/aifab.sh

cat > /etc/motd <<MOTD

aifab, the AI fabric lab. Three commands to begin with:

  sudo aifab doctor            what this machine offers
  sudo aifab run allreduce     run a scenario, judge it, write its report to runs/
  sudo aifab cli small         a fabric with Mininet's own command line

The project is in $source. Reports to a browser on your own machine, as http://localhost:8000 there:
  python3 -m http.server 8000 --directory runs

MOTD
