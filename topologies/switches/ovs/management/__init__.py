"""What a running switch is asked and reported beside OpenFlow: its processes, caches, neighbours, counters, paths.

It needs nothing of what built the lab, so the controller's southbound may use it.
"""
