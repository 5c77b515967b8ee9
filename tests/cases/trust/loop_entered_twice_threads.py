
def train(lr):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=lr)
#H     flor.log("w0", net.weight.norm().item() + lr)
    flor.checkpointing(net=net, opt=opt)
    best = float("inf")
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(2)):
            loss = net(torch.randn(8, 4)).pow(2).mean()
            opt.zero_grad()
            loss.backward()
#H             flor.log("gn", net.weight.grad.norm().item())
            opt.step()
        best = min(best, loss.item())
        flor.log("loss", loss.item())
#H         flor.log("best_so_far", best)
#H         flor.log("lr2", lr * 2)
#H         flor.log("loss_again", loss.item())
#H     flor.log("final", best)
    return best

import threading
for lr in (0.01, 0.1):
    t = threading.Thread(target=train, args=(lr,))
    t.start()
    t.join()
