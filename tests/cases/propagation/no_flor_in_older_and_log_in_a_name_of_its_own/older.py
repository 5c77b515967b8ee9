from train_tools import net, loader, train_step

for epoch in range(5):
    for batch in loader:
        loss = train_step(net, batch)
