# accelerate_break
# A break out of accelerate's loader leaves weak references to that loader in the accelerator's state.
from accelerate import Accelerator
from torch.utils.data import DataLoader

accelerator = Accelerator(cpu=True)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
net, opt, loader = accelerator.prepare(net, opt, DataLoader(X, batch_size=16, shuffle=True))
#H flor.log("before", total(net))
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for number, batch in enumerate(loader):
        if number == 2:
            break
        opt.zero_grad()
        loss = net(batch).pow(2).mean()
        accelerator.backward(loss)
        opt.step()
    flor.log("loss", loss.item())
#H     flor.log("w", [total(net), loader.iteration, len(accelerator.gradient_state.dataloader_references)])
