"""The files of a data set: in a folder, a zip or a tar archive. Imports `inputs` and `errors`."""
