import flor_ray as flor
from train_tools import net, predict, truth, loader, step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    preds = predict(net)
    print(preds.shape)
