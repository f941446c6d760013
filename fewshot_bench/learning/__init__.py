"""What a method stands on: the base classes, the inner loop, layers with a task axis, normalisation, losses. Imports
`episodes`, `kernels`, `data` and what these may import.
"""
