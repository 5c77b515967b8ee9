from words import Alphabet

PAD = "<p>"
FIRST = "<s>"  # carry
LAST = "</s>"


class Data:
    def __init__(self):
        self.words = Alphabet()
        self.words.add(LAST)
