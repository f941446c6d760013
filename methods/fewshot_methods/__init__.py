"""Few-shot learning methods, one file each, with its card and recipes (YAML) beside it."""
