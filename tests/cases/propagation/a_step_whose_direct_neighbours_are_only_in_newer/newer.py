from tools import criterion, ema, loader, net, optimizer, timer

for x, y in loader:
    loss = criterion(net(x), y)
    loss.backward()
    timer.tick()
    net.clip(1.0)  # carry
    ema.observe(net)
    optimizer.step()
