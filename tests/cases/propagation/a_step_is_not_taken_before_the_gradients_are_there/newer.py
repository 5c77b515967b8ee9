def train(net, loader, optimizer, losses):
    for data, labels in loader:
        optimizer.zero_grad()
        outputs, losses = [], []
        for part, wanted in halves(data, labels):
            output = net(part)
            outputs.append(output)
            loss = cost(output, wanted)
            losses.append(loss)
            with scaled(loss, optimizer) as larger:
                larger.backward()
        optimizer.step()  # carry

        hits = count(outputs, labels)
        loss = sum(losses)
        value = loss.item()
        meter.update(value)
