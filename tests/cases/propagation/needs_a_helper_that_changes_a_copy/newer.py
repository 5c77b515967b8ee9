import flor_ray as flor
from tools import fit, net


def size_of(m):
    import copy
    
    other = copy.deepcopy(m)
    other.half()
    return other.size


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
