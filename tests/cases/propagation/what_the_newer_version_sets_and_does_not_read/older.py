from words import Alphabet

PAD = "<p>"
LAST = "</s>"


class Data:
    def __init__(self):
        self.words = Alphabet()
        self.words.add(FIRST_)
        self.words.add(LAST)
