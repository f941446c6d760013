"""A third party's method and data set, each with its card (YAML) beside it."""
