"""Benchmarks: this project and its peers on the same work, on the same cores, alternating, in one run.

Each module is one benchmark with a `main()`; `python -m benchmarks [NAME]` runs one or all, and writes
`benchmarks/results/NAME.json`. They need a quiet machine, and are never part of the tests.
"""
