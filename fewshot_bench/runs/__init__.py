"""A request on its way to a record: data, plan, session, training, testing, shards, provenance. Imports every package but
`bench` and `cli`.
"""
