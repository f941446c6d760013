"""Data sets, a folder for each family of them, their cards (YAML) beside the code; lists in `splits` and `manifests`."""
