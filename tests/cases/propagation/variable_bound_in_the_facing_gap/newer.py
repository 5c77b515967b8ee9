import torch
import flor_ray as flor
from tools import net, criterion, optimizer, loader, held_out, split, entropy, confusion
held_out, truths = split(3)

def evaluate(model):
    model.eval()
    with torch.no_grad():
        logits = model(held_out)
        return criterion(logits, truths).item(), logits


for epoch in flor.loop("epoch", range(5)):
    net.train()
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    test_loss, logits = evaluate(net)
    predicted = logits.argmax(1)
    flor.log("cf", confusion(truths, predicted))  # carry
    print(epoch, loss.item(), test_loss)
