"""Ground truth for propagation, by construction: cases, how they are scored, and who else can be asked."""
