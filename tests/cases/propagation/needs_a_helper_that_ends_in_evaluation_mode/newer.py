import torch
import flor_ray as flor
from tools import net, criterion, optimizer, loader, held_out, truth, entropy, confusion

def evaluate(model):
    model.eval()
    with torch.no_grad():
        logits = model(held_out)
        return criterion(logits, truth).item(), logits


for epoch in flor.loop("epoch", range(5)):
    net.train()
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    flor.log("test", evaluate(net)[0])  # carry
