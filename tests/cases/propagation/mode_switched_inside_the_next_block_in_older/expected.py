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
    with torch.no_grad():
        net.eval()
        logits = net(held_out)
        test_loss = criterion(logits, truth).item()
    flor.log("tail", net(held_out).mean().item())
    print(epoch, loss.item(), test_loss)
