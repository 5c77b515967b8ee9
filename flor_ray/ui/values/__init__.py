"""Single values, opened: matrices, numbers, pictures, tables, texts. They are data: nothing of them runs.

png         pixels and nothing else (pure)
openings    what is shown of a value (pure)
places      which value is meant
"""
