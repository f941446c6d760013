"""Data sets, one file each, with its card (YAML) and its splits beside it."""
