import flor_ray as flor
from tools import fit, net


def size_of(m):
    layers = m.layers
    last = layers
    last.append(3)
    return len(layers)


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
