def attend(self, q, k, v):
    weights = match(q, k)
    weights = self.dropout(softmax(weights))
    output = multiply(weights, v)  # carry
    return output, weights
