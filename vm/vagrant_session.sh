#!/usr/bin/env bash
# A real `vagrant up` with libvirt, in namespaces of its own: vm/vagrant.py starts it there.
#
#   vm/vagrant_session.sh SCRATCH      with SCRATCH/lab.box
#
# Its libvirtd, network and guests are nobody else's, and end with the namespace of processes. Nothing
# of the machine's own libvirt is touched: what it would write to is covered by folders of SCRATCH.
set -euo pipefail

scratch=$1
export HOME=$scratch/home VAGRANT_HOME=$scratch/vagrant VAGRANT_DOTFILE_PATH=$scratch/machines
export VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_BOX_UPDATE_CHECK_DISABLE=1
unset AIFAB_BOX

mount -t tmpfs none /run
for place in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mkdir -p "$scratch/own$place"
    mount --bind "$scratch/own$place" "$place"
done
mkdir -p "$HOME" /run/dbus /var/lib/libvirt/images
# As on a desktop without a service manager: no cgroups, no labels, no separate user.
cat > /etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
CONF
ip link set lo up
dbus-daemon --system --fork
libvirtd --daemon

step() {
    local name=$1 begin=$SECONDS code=0
    shift
    echo "== $name"
    "$@" < /dev/null || code=$?
    echo "== $name: exit code $code, $((SECONDS - begin)) s"
    return $code
}

# Under this name the Vagrantfile finds it as it is.
step "vagrant box add" vagrant box add --name debian/bookworm64 --provider libvirt "$scratch/lab.box"
step "vagrant validate" vagrant validate
step "vagrant up" vagrant up --provider=libvirt
# SUSPECT (4) and INVALID (3) are no failures of the VM: an emulated processor is slow, and the run says so.
step "vagrant ssh" vagrant ssh -c \
    'cat /etc/motd && sudo aifab doctor && sudo aifab run /vagrant/vm/scenarios/delay.yml' || case $? in 3 | 4) ;; *) exit 1 ;; esac
step "vagrant provision" vagrant provision
step "vagrant halt" vagrant halt
step "vagrant destroy" vagrant destroy --force
