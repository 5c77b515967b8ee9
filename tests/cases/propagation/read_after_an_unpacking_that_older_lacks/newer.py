import torch
import flor_ray as flor
from tools import net, criterion, optimizer, loader, held_out, truth, entropy, confusion

def evaluate(model):
    model.eval()
    with torch.no_grad():
        logits = model(held_out)
        return criterion(logits, truth), logits


for epoch in flor.loop("epoch", range(5)):
    net.train()
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        logits = net(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
    test_loss, logits = evaluate(net)
    flor.log("entropy", entropy(logits))  # carry
    print(epoch, loss.item(), test_loss)
