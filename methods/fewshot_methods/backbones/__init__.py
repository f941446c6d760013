"""Embedding networks that the methods share."""
