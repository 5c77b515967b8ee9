import torch


def one_epoch(model, optimizer, x, y):
    for start in range(0, len(x), 8):
        loss = ((model(x[start : start + 8]) - y[start : start + 8]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def fit(model, optimizer, epochs):
    x = torch.randn(32, 8)
    y = x.sum(1, keepdim=True)
    for epoch in range(epochs):
        loss = one_epoch(model, optimizer, x, y)
        print(epoch, loss)
        # hindsight: flor.log("norm", model.layer.weight.norm().item())
