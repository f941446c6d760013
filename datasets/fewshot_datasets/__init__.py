"""Data sets: a folder for each family, with their cards (YAML) beside the code, and lists in `splits` and `manifests`."""
