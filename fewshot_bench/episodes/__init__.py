"""Which images stand in which episode: random numbers, sampling, sizes, tasks and where they come from, protocols,
augmentation. Imports `data`, `kernels` and what these may import.
"""
