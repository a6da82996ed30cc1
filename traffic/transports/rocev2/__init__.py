"""RoCEv2 traffic, a process of its own: queue pairs that send messages at a pace.

Reliable ones repeat from the first lost packet on.

Messages are SENDs (opcodes SEND First, Middle, Last and Only), not RDMA WRITEs: they carry no RETH.

    sender                                   receiver
    PSN 0 1 2 3 4 5 ...  ──data, 4791──>     expects the next PSN; drops what comes early or again
    goes back to 2       <──NAK 2──────      once for each gap; ACKs where it is asked to

Packets go out through a raw IP socket of the host, so they pass its queue and the ledger counts them.
"""
