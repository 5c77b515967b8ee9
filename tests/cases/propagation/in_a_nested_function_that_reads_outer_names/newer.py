from tools import Net, SGD, args, criterion, loader


def make_step(net, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        net.clip(args.clip)  # carry
        optimizer.step()
        return loss

    return step
