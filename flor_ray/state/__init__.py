"""The state of a script: what belongs to it, how it is copied into a checkpoint, compared, and put back."""
