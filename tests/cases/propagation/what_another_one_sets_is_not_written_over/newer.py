import tensorflow as tf


def optimise(optimizer, loss):
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    clipped, _ = tf.clip_by_global_norm(gradients, 1.0)  # carry
    return optimizer.apply_gradients(zip(clipped, variables))
