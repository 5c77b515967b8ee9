"""Curves: all points of features and runs, and of these what so many pixels can show.

reducing    which points are drawn, smoothed, as a mean of several runs (pure; numpy only)
marks       how far a replayed value can be trusted, and why (pure)
readings    the points of a feature: read once, kept while the store has no others
charts      what is sent for one chart
"""
