"""Many small files become few: how compacted files are laid out, what they cover, and how they are made."""
