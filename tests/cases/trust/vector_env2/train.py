import gymnasium as gym
import numpy as np
import torch

import flor_ray as flor


def make(i):
    def thunk():
        return gym.make("CartPole-v1")

    return thunk


torch.manual_seed(1)
envs = gym.vector.SyncVectorEnv([make(i) for i in range(2)])
net = torch.nn.Linear(4, 2)
opt = torch.optim.Adam(net.parameters(), lr=0.01)
flor.checkpointing(net=net, opt=opt, overhead=1)
next_obs = torch.tensor(envs.reset(seed=1)[0])
buffer, rewards = torch.zeros(20, 2, 4), torch.zeros(20, 2)
for epoch in flor.loop("epoch", range(5)):
    for t in flor.loop("t", range(20)):
        buffer[t] = next_obs
        with torch.no_grad():
            action = torch.distributions.Categorical(logits=net(next_obs)).sample()
        obs, reward, terminated, truncated, _ = envs.step(action.numpy())
        next_obs = torch.tensor(obs)
        rewards[t] = torch.tensor(reward)
#H         flor.log("obs0", float(obs[0, 0]))
    for k in range(3):
        dist = torch.distributions.Categorical(logits=net(buffer))
        loss = -(dist.log_prob(torch.zeros(20, 2)) * (rewards - 0.9)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
#H         flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
