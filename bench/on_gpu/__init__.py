"""What bench/gpu.py exercises and measures."""
