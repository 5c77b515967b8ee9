"""From a hole to the replay that fills it, and how replays stand.

stints      what workers do and did, as rows for a chart
plans       what is asked for, and its plan
pinning     an old version's code, and pins that a click sets
launches    replays that the page has started, as processes of their own (`process` is what runs in them)
following   how replays stand, for any number of browsers
"""
