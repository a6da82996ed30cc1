"""Everything of Open vSwitch. The rest of the code asks by what a switch does, not by how this one does it.

    start     all switches of a fabric; switch: one of them   restart       one dies, and comes again
    vtep      a leaf's tunnel end                             requirements  of the machine
    losses    packets that a switch had no room for           audit         does it still run as it was started?
    kernel_datapath, steering     what the kernel's datapath needs besides
    management/                   processes, caches, neighbours, rule counters, paths of one that runs
"""
