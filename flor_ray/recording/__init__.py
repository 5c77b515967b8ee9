"""What happens while a script trains: where it is, what it logs, when a checkpoint is taken, and how all of it reaches
the store without holding the script up.
"""
