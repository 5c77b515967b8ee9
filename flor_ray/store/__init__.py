"""Everything that is recorded, below one URL; the doors to pyarrow, fsspec and git.

    files   backend ── local, remote ── files ── cache, objects (S)
    tables  typed_values, columns ── fragments ── store (E, C, F, G) ── pivots
    else    repository (the shadow branch), working_tree, project, decisions ── pins, retention ── collecting

Files are only added, and become visible whole or not at all. What is read is never executed.
"""
