import tensorflow as tf


def optimise(optimizer, loss):
    grads, variables = zip(*optimizer.compute_gradients(loss))
    return optimizer.apply_gradients(zip(grads, variables))
