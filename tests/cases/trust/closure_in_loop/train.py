import torch

import flor_ray as flor

if __name__ == "__main__":
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randn(16, 1)
    net = torch.nn.Linear(4, 1)
    opt = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)
    flor.checkpointing(net=net, opt=opt)
    for epoch in flor.loop("epoch", range(4)):

        def closure():
            opt.zero_grad()
            loss = (net(x) - y).pow(2).mean()
            loss.backward()
            return loss

        flor.log("loss", opt.step(closure).item())
#H         flor.log("wn", net.weight.norm().item())
