# Conditions: {"where": ["epoch == 5", null]}
# A process beside the script is asked for numbers, through helpers and an object: its place in them is nobody's to keep.
import subprocess
import sys

import torch

import flor_ray as flor


class Source:
    def __init__(self, process):
        self.process, self.asked = process, 0

    def number(self):
        self.asked += 1
        print("next", file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


def asked(sources):
    return sum(source.number() for source in sources)


code = "for n, line in enumerate(iter(input, '')): print(n * n, flush=True)"
process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
sources = [Source(process)]
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-4)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        x = torch.tensor([[1.0, float(asked(sources))]])
        loss = net(x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
#H         flor.log("x", x[0, 1].item())
#H     flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
process.stdin.write("\n")
process.stdin.close()
process.wait()
