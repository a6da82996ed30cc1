"""Queries and orders to the engine's switches beside OpenFlow: neighbours, counters of drop rules, paths, power.

It needs nothing of what built the lab, so the controller's southbound may use it.
"""
