"""Images of a user's own: a folder or an archive of images, or arrays of one .npz file. Imports `sources` and the core."""
