from tools import net, loader, step, flor

for epoch in range(5):
    for batch in loader:
        loss = step(net, batch)
        flor.update(loss)
