"""Whether a script takes something from an object that no checkpoint can hold, and when."""
