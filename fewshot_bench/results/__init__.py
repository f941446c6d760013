"""What a run leaves: records, their scores and statistics, pooling, comparison and tables. Imports `episodes`, `plugins`,
`inputs`, `text` and the modules beside the packages; nothing of `learning`.
"""
