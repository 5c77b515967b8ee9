import torch
import flor_ray as flor
from tools import net, criterion, optimizer, loader, held_out, truth, entropy, confusion

for epoch in flor.loop("epoch", range(5)):
    net.train()
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        logits = net(held_out)
        test_loss = criterion(logits, truth).item()
    print(epoch, loss.item(), test_loss)
