"""Scripts whose values were once wrong, and whether they are right: bench/trust.py."""
