def train(net, loader, optimizer, losses):
    for data, labels in loader:
        data = data.cuda()
        optimizer.zero_grad()
        outputs = net(data)
        loss = cost(outputs, labels)
        loss.backward()

        value = loss.item()
        meter.update(value)
