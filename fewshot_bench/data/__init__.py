"""What a data set is: its files, decoding and preparation, banks of images, imports, verification, and families of
functions. Imports `plugins`, `source`, `inputs`, `text` and the modules beside the packages; nothing of episodes or
methods.
"""
