"""What the page takes, measured in a real browser."""
