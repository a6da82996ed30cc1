"""What every process of traffic is made of, whatever it carries.

    job.py         JOB.json: what all jobs have, and how one is read
    command.py     from the command line to the exit code
    protocol.py    the line that starts the traffic; its events are in topologies/access/events.py
    session.py     a phase on an event loop: connect, go, run, close; the first failure ends it
    timers.py      exact timers, and how late they run
    interfaces.py  notices that a host's interface goes down
    records.py     what happened, a line of JSON each
    reading.py     those lines as objects again, once a run
    counters.py    what the sampler counted meanwhile, as arrays
    launch.py      programs of others on the hosts, one process a rank
"""
