from layers import WordSequence


class Classifier:
    def __init__(self, data):
        self.gpu = data.gpu
        label_size = data.label_size
        data.label_size += 2
        self.hidden = WordSequence(data)

    def loss(self, words):
        return self.hidden(words)
