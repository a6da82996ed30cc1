"""The fabric engine: one C process that is every link and switch of a lab; hosts stand on TAP devices.

    fabricd/            the process: queues, links, the OpenFlow pipeline, TAPs (C11, docs/engine.md)
"""
