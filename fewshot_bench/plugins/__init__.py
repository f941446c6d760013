"""Plugins: found through entry points, checked for what they declare, and blamed for their own exceptions. Imports
`source`, `inputs`, `text`, `specs` and `errors`.
"""
