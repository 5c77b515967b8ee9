# found_another_way
# Hindsight statements name what the recorded loop comes to by another name, and functions like those that it calls. State
# must be found by the ways of the record: aliases of a buffer and of a model, one of two closures, one of two lambdas.
# Conditions: {"where": ["epoch >= 3", null]}
class Trainer:
    def __init__(self):
        self.net = nn.Linear(4, 1)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)


def counter(n):
    def bump(by=1):
        nonlocal n
        n += by
        return n

    return bump


def main():
    buf = torch.zeros(3)
    a_buf = buf
    a_count, b_count = counter(100), counter(0)
    a_act, b_act = (lambda v: v + 1), (lambda v: v * 3)
    acts = []

    def step():
#H         flor.log("in_step", [a_buf.sum().item(), total(a_net)])
        buf.add_(1)
        return train(trainer.net, trainer.opt)

    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        acts.append(b_act)
        for batch in flor.loop("step", range(2)):
            loss = step()
            b_count()
        flor.log("loss", loss + acts[0](1))
#H         flor.log("buffers", [a_buf.sum().item(), buf.sum().item(), total(a_net)])
#H         flor.log("functions", [a_count(0), b_count(0), a_act(7), acts[0](7)])


trainer = Trainer()
a_net = trainer.net
main()
