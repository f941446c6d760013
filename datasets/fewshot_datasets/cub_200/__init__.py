"""CUB-200-2011: 200 species of birds. Imports `sources` and the core."""
