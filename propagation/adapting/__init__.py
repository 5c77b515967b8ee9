"""The words of a statement in the older version: renames, insertions byte by byte, and what makes them doubtful."""
