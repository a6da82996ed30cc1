"""How bytes and packets travel between hosts.

    base.py       what a transport is: networks, connections, lanes       registry.py   transports by name
    flow.py       bytes of an operation on their way, in portions         overhead.py   what headers and ACKs cost
    opening.py    many connections at a time                              pool.py       keep-alive connections
    tcp/          the kernel's TCP, under engine and inference

Processes of their own, which make packets rather than carry operations: udp/, rocev2/, replay/, iperf.py.
"""
