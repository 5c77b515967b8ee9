"""GumTree: which node of the newer tree corresponds to which one of the older (Falleri et al. 2014)."""
