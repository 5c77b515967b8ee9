import flor_ray as flor
from tools import fit, net, save, test

for epoch in flor.loop("epoch", range(3)):
    fit(net)
    acc = test(net)
    flor.log("accuracy", acc)
    save(net, acc)
