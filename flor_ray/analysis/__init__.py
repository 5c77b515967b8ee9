"""What users' source says: our calls in it, its loops, what depends on what, in which region a statement runs.

Pure: nothing of it is run, and no library is needed to read it.
"""
