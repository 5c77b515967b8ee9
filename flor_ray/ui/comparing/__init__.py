"""Versions beside each other.

divergence      where values begin to differ (pure)
side_by_side    two texts, line by line (pure)
comparing       code, arguments, environment, values, and where a statement would land
"""
