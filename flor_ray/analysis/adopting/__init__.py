"""What the script of a run from before flor_ray says of itself: what it saves, where its epochs are, and what the
states that it saved can answer. Pure: texts in, values out.

    functions   what a project's functions change of what they are given, and which modes they leave
    saves       the calls that write checkpoint files: which variable fills what of a file, and in which loop
    script      what is kept of that with the version, and the script's text with our calls in it
    answers     which statements the state at an epoch's end can answer, and why others cannot be
"""
