"""A user's own images: a folder or an archive of images, or the arrays of one .npz file. Imports `sources` and the core."""
