"""The traffic engine: one process with sockets in every host's namespace, and one clock.

    job.py         what to do: JOB.json
    namespaces.py  a socket inside another namespace
    settings.py    what is set in a host's TCP before traffic starts
    timers.py      exact timers, and how late they run
    lane.py        the hot path: bytes through one direction of a connection
    mesh.py        connections between hosts: opened inside their namespaces, told about, closed
    channels.py    which connection a transfer takes: shared by its pair, or from a pool
    execution.py   a program's operations, started when what they wait for is over
    reporting.py   an execution's events as records
    watch.py       notices that a host's interface goes down
    session.py     a phase from ready to done
    __main__.py    python -m traffic.engine JOB.json
"""
