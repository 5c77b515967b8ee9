import flor_ray as flor
from tools import fit, net, save, test

for epoch in flor.loop("epoch", range(3)):
    fit(net)
    acc = test(net)
    flor.log("accuracy", acc)
    acc_ = acc * 100
    acc_ = round(acc_, 2)
    flor.log("percent", acc_)
    save(net, acc)
