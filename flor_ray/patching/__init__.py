"""Every version with the wanted statements in it: which file logs a name, which file of a version corresponds, what the
user has pinned, and which answers are known already.
"""
