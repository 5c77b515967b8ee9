# Conditions: {"where": ["epoch == 4", null]}
# Objects whose pickle says how to make them or where they live, and not what they are.
import multiprocessing

import gymnasium as gym
import torch

import flor_ray as flor


class Counting(gym.Env, gym.utils.EzPickle):
    def __init__(self, begin):
        gym.utils.EzPickle.__init__(self, begin)
        self.count = begin

    def step(self, action):
        self.count += int(action)
        return float(self.count), 1.0, False, False, {}


if __name__ == "__main__":
    env = Counting(10)
    manager = multiprocessing.get_context("fork").Manager()
    shared = manager.dict(seen=0)
    net = torch.nn.Linear(1, 1)
    opt = torch.optim.SGD(net.parameters(), lr=1e-6)
    flor.checkpointing(net=net, opt=opt, overhead=1)
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            obs, *_ = env.step(step + 1)
            shared["seen"] += 1
            loss = net(torch.tensor([[obs]])).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
#H             flor.log("obs", obs)
#H             flor.log("seen", shared["seen"])
        flor.log("loss", loss.item())
    manager.shutdown()
