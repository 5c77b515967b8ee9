"""What bench/replay.py replays, how it is known what must come out, and how long everything takes."""
