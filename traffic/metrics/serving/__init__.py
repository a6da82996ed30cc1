"""Metrics of requests and serving: latencies, goodput, caches and stores, agents' tasks, workers on several hosts."""
