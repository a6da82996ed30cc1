"""What a switch needs of the machine."""

from __future__ import annotations

_PACKAGE = "openvswitch-switch"
PROGRAMS = dict.fromkeys(("ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"), _PACKAGE)
VERSION = ("ovs-vswitchd", "--version")
IN_KERNEL = "ovs-kernel"            # of a spec's `datapath`: the kernel forwards
KERNEL_DATAPATH = "openvswitch"     # the module that it needs then
# Sysctls, bytes: an AF_PACKET socket of a switch with the default buffer lets one congested port starve the others,
# uncounted.
SETTINGS = {
    "net.core.wmem_default": 67108864,
    "net.core.rmem_default": 8388608,
}
