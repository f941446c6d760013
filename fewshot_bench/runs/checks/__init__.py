"""What is found out before or beside a run: whether it fits in memory and in a day, whether the method keeps to its
interface, whether a test is inductive. Imports `runs.requests`, `runs.plan` and `runs.testing`.
"""
