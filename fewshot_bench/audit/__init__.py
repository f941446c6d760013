"""The audit of a plugin (`fsbench check`, `fewshot_bench.testing`): what its interface promises, tried on synthetic data.
Imports `runs`; the checks of a method's queries are those of a test (`runs.checks.inductive`).
"""
