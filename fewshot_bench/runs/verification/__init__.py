"""Verification of records: each field, and how far this machine can vouch for it."""
