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
obs, _ = envs.reset(seed=1)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(5)):
    rewards, logp = [], []
    for t in flor.loop("t", range(20)):
        dist = torch.distributions.Categorical(logits=net(torch.as_tensor(obs, dtype=torch.float32)))
        action = dist.sample()
        obs, reward, terminated, truncated, _ = envs.step(action.numpy())
        logp.append(dist.log_prob(action).sum())
#H         flor.log("obs0", float(obs[0, 0]))
        rewards.append(float(reward.sum() - 5 * np.logical_or(terminated, truncated).sum()))
    loss = -(torch.stack(logp) * torch.tensor(rewards)).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
#H     flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
