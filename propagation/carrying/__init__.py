"""From a mapping to a patched source or a refusal: what has to move together, and what may come along."""
