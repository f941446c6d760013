"""What data sets share: downloads, checksums, lists that the package holds, what is kept between runs, and pickles that
are read and never executed. Imports the core alone.
"""
