"""Inference serving: every byte crosses the fabric as real packets, only the GPUs' time is a model.

    client ──prompt──> gateway ──prompt──> replica: queue, prefill, decode
    client <──tokens── gateway <──tokens── replica                              all over TCP

    gpu.py       how long a step of a batch takes: a roofline
    kv/          KV caches: what replicas and stores hold of them, and how they travel
    batching.py  continuous batching: what a replica computes in its next step
    parallel.py  replicas on several hosts: who is in which, and the bytes that their workers exchange
    workers.py   steps through the stages of such a replica, all-reduces and activations
    routing.py   which replica gets a request: pure functions over a snapshot
    plan.py      what a user wrote -> the job, in emulated units
    requests.py  the requests of a job: from a trace, drawn, or in sessions
    agent.py     tasks of agents: trees of model and tool calls, drawn
    links.py     keep-alive connections between hosts, one request at a time on each
    replica.py   a replica's clock: steps that end, tokens that leave
    gateway.py   takes requests in, chooses replicas, passes tokens on
    client.py    sends requests when they are due, whatever became of the others
    tasks.py     tasks while they run: a call goes out when all that it waits for has ended
    tools.py     calls of tool servers: tried, timed out, tried again
    records.py   what is written down about a request and about a replica
    __main__.py  python -m traffic.inference JOB.json
"""
