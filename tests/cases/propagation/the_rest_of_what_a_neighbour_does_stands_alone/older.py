from tools import match, multiply


def attend(self, q, k, v):
    weights = match(q, k)
    weights = self.softmax(weights)
    weights = self.dropout(weights)
    return output, weights
