"""What bench/schedule.py measures: packing against optima, its speed, traces, a real cluster, and estimates."""
