"""How users come to a cluster, what hostile stores hold, where secrets may be: for bench/ways_in.py and tests."""
