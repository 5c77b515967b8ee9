import flor_ray as flor
from tools import fit, net


def size_of(m):
    for group in m.groups:
        group["lr"] = 1
    return m.size


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
