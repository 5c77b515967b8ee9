import flor_ray as flor
from tools import fit, items


def take(source):
    return next(source)


for epoch in flor.loop("epoch", range(3)):
    item = take(items)
    print(item)
    flor.log("item", item)  # carry
    print("done", flor.log("again", take(items)))  # carry
    fit(epoch)
