from layers import WordSequence


class Classifier:
    def __init__(self, data):
        self.gpu = data.gpu
        label_size = data.label_size
        self.hidden = WordSequence(data)  # carry

    def loss(self, words):
        return self.hidden(words)
