"""The traffic engine: one process that carries a phase's operations between hosts, with one clock.

    job.py         what to do: JOB.json
    channels.py    which connection a transfer takes: shared by its pair, or from a pool
    task.py        an operation while its program runs
    execution.py   a program's operations, started when what they wait for is over
    reporting.py   an execution's events as records
    session.py     a phase from ready to done, as every process on an event loop has it (traffic/runtime/session.py)
    __main__.py    python -m traffic.engine JOB.json

Bytes travel by traffic/transports.
"""
