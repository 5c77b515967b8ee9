import flor_ray as flor
from tools import net, loader, step

def evaluate():
    hits = sum(net.hits(batch) for batch in loader)
    accuracy = hits / len(loader)
    print(accuracy)

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    evaluate()
