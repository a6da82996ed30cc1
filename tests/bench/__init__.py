"""Benchmarks: figures, no assertions. `python -m tests.bench [NAME...]`, docs/reference/benchmarks.md."""
