"""Queries and orders to a running switch beside OpenFlow: processes, caches, neighbours, counters, paths.

It needs nothing of what built the lab, so the controller's southbound may use it.
"""
