"""Scripts that `flor-ray init` has proposed calls for: recorded, replayed, and compared bit for bit."""
