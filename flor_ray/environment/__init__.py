"""What a run ran in: variables, packages, hardware, the files that it opened, and how long imports took."""
