"""Everything of wires made of HTB, bfifo and netem. The rest of the code knows links, directions and their queues.

    wires     a wire's queues, and how a link's rate, queue and state change while it carries traffic
    start     the wires of a fabric come to life              classes, shares     traffic classes, and their shares
    qdisc     what the kernel holds and counts, by netlink    counters, sampling  what queues have counted
    audit     is it still what the spec says?                 requirements        of the machine
"""
