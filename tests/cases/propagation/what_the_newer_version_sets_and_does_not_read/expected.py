from words import Alphabet

PAD = "<p>"
FIRST_ = "<s>"
LAST = "</s>"


class Data:
    def __init__(self):
        self.words = Alphabet()
        self.words.add(FIRST_)
        self.words.add(LAST)
