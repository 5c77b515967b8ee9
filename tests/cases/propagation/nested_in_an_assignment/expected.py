import flor_ray as flor
from train_tools import net, evaluate, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        train_step(net, batch)
    accuracy = evaluate(net)
    flor.log("acc", accuracy)
    print(accuracy)
