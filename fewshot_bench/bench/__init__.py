"""`fsbench bench`: how fast this machine could be, how fast this package is on it, and how fast learn2learn is at the same
work."""
