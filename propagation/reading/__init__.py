"""A source as the matching wants it: parsed (the tree-sitter door), with its names, log calls and effects."""
