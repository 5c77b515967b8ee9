import flor_ray as flor
from tools import fit, net


def size_of(m):
    found = {}
    for name, p in m.named_parameters():
        found[name] = p.norm()
    found.update(all=1)
    return sum(found.values())


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
