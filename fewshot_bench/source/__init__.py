"""The hash of a method's source: which code a method reaches outside the core, and a text of it that changes only when
it computes something else. Imports nothing of this project.
"""
