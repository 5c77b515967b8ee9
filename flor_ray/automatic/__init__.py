"""Recording without a call for each value: configurations, Trainers, printed lines."""
