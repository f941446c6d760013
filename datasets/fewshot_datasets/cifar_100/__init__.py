"""CIFAR-FS and FC100, two splits of CIFAR-100. Imports `sources` and the core."""
