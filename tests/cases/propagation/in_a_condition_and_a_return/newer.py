import flor_ray as flor
from train_tools import net, loader, train_step, score

def evaluate(net):
    net.eval()
    return flor.log("score", score(net))  # carry

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
    if flor.log("acc", evaluate(net)) > 0.9:  # carry
        break
