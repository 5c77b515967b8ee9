import torch
import flor_ray as flor
from tools import net, criterion, optimizer, loader, held_out, truth, entropy, confusion

for epoch in flor.loop("epoch", range(5)):
    net.train()
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        logits = net(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
    test_loss = criterion(net(held_out), truth).item()
    print(epoch, loss.item(), test_loss)
