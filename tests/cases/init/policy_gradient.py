"""Rollouts, then some epochs on them."""
import torch
from torch import nn


class Walk:
    """An environment: walk to +5."""

    def reset(self):
        self.at = 0.0
        return torch.tensor([self.at])

    def step(self, action):
        self.at += 1.0 if action else -1.0
        return torch.tensor([self.at]), self.at, abs(self.at) >= 5


num_updates = 3
num_steps = 16
update_epochs = 2
torch.manual_seed(13)
agent = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(agent.parameters(), lr=0.01)
env = Walk()
obs = env.reset()
for update in range(1, num_updates + 1):
    seen, actions, rewards = [], [], []
    for step in range(num_steps):
        with torch.no_grad():
            action = torch.distributions.Categorical(logits=agent(obs)).sample()
        seen.append(obs)
        actions.append(action)
        obs, reward, done = env.step(int(action))
        rewards.append(reward)
        if done:
            obs = env.reset()
    advantages = torch.tensor(rewards) - sum(rewards) / len(rewards)
    for epoch in range(update_epochs):
        for chosen in torch.randperm(num_steps).split(8):
            logits = agent(torch.stack(seen)[chosen])
            logp = torch.distributions.Categorical(logits=logits).log_prob(torch.stack(actions)[chosen])
            loss = -(logp * advantages[chosen]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    # hindsight: flor.log("norm", agent[0].weight.norm().item())
