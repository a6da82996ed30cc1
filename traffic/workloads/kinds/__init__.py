"""Kinds of workload, one module each, and `registry.KINDS`, which has them all.

    spec ──problems, limits──> refused, or ──build──> Built ──> pairs, hosts, notes, seconds, demand, predictions
                                                        └─Process.job─> what a process is asked to do

Whatever checks, runs, proves or reports a workload asks its kind (kind.py) and knows none by name. A kind whose traffic
is operations of the TCP engine derives from `EngineKind` (engine.py); one with a process of its own brings a `Process`.
"""
