"""Everything of Open vSwitch. The rest of the code asks by what a switch does, not by how this one does it.

    switch          starts all of a fabric's, each in its own namespace      restart     one dies, and comes again
    vtep            a leaf's tunnel end                                      steering    packets' order in the kernel
    kernel_datapath what the datapath of the kernel needs besides            requirements  of the machine
    losses          packets that a switch had no room for                    audit       is it still as it was started?
    management/     processes, caches, neighbours, counters, paths of one that runs
"""
