"""What a cluster's query must hold, part by part, for bench/cluster.py: each has `measure(quick)`."""
