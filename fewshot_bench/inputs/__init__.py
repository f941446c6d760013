"""Files that anybody may have written, read within bounds: plain files, JSON and YAML. Imports `text` and `errors`."""
