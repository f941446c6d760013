"""Plugins: how they are found through entry points, how their declarations are checked, and how their exceptions are told.
Imports `source`, `inputs`, `text`, `specs` and `errors`.
"""
