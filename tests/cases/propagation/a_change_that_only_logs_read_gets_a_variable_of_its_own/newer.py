import flor_ray as flor
from tools import fit, net, save, test

for epoch in flor.loop("epoch", range(3)):
    fit(net)
    accuracy = test(net)
    flor.log("accuracy", accuracy)
    accuracy = accuracy * 100
    accuracy = round(accuracy, 2)
    flor.log("percent", accuracy)  # carry
    save(net)
