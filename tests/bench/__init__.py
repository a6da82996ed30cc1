"""Benchmarks: they write figures to files and assert nothing. `python -m tests.bench [NAME...]`, docs/benchmarks.md."""
