"""What a replayed script writes goes to a layer of its own, and no file or tracker of the user's notices."""
