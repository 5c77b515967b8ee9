"""Parts of bench/systems.py."""
