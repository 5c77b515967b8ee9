# A call whose result only the newest code names or logs: it runs once, whatever it takes, draws or changes.
import random

queue = [float(number) for number in range(99)]


def take(items, scale=1.0):
    return items.pop() * scale, random.random()


def draw():
    return torch.rand(3)


net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        loss = net(torch.randn(8, 4)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
#R         norm: torch.Tensor = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        opt.step()
#R         item, drawn = take(queue)
        take(queue)
#H         flor.log("item", item + drawn)
#R         flor.log("first", draw()[0])
        draw()
        random.random()
    flor.log("loss", loss.item())
#H     flor.log("total", norm.item())
#R     taken = flor.log("taken", take(queue, 2.0)[0])
    take(queue, 2.0)
flor.log("left", len(queue))
