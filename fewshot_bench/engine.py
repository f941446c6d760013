"""The number of the core's own numerics."""

ENGINE = 1
"""Raised whenever a score or a weight that the core computes in float64 would change by more than rounding.

It is part of every run id, and results of different numbers are never pooled. `tests/test_engine.py` fails where outputs
change and the number does not.
"""
