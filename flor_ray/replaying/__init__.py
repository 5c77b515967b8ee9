"""Inside a replay process and around it: a version's folder and process, the session that answers its calls from
segments, and what becomes of the values. No Ray here.
"""
