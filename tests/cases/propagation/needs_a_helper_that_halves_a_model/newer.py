import flor_ray as flor
from tools import fit, net


def size_of(m):
    _ = m.half()
    return m.size


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
