import flor_ray as flor
from tools import fit, items


def take(source):
    return next(source)


for epoch in flor.loop("epoch", range(3)):
    print(take(items))
    print("done", take(items))
    fit(epoch)
