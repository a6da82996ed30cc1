"""Paced UDP streams, a process of its own: loss, reordering, one-way latency and jitter of single packets.

    job (parent)  ──fork──>  sender    hosts' sockets, absolute schedule, CLOCK_REALTIME in each packet
         │        ──fork──>  receiver  kernel time stamps, waits for the tail
         └── stdin/stdout    go, stop / ready, progress, error, done; writes the records

Two processes, because a sender that waits for a receiver's bytecode does not pace. They write what
they see into memory shared with the parent (board.py), one row a packet.
"""
