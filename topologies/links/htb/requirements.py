"""What wires need of the machine."""

from __future__ import annotations

PROGRAMS = {"tc": "iproute2"}
VERSION = ("tc", "-V")
SHAPER = "sch_htb"
MODULES = {SHAPER: "link rates", "act_mirred": "wires", "cls_u32": "wires", "veth": "wires"}    # for any lab
IMPAIRMENTS = "sch_netem"     # for links that delay, lose or reorder
# HTB releases frames one by one, each by a timer of its own, or with hysteresis a burst at a time. The
# rate is the same; the switches wake up half as often (docs/decisions/009-wires-release-bursts.md).
MODULE_PARAMETERS = {"/sys/module/sch_htb/parameters/htb_hysteresis": 1}
