"""Omniglot: its drawings, its manifest and its splits. Imports `sources` and the core."""
