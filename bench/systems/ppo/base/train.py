"""Proximal policy optimization on CartPole."""

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import flor_ray as flor

SIZES = {
    "tiny": {"envs": 4, "horizon": 64, "hidden": 32, "passes": 2, "minibatches": 4},
    "paper": {"envs": 8, "horizon": 128, "hidden": 64, "passes": 4, "minibatches": 4},
}

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
parser.add_argument("--epochs", type=int, default=4, help="updates of the policy")
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--gamma", type=float, default=0.99)
parser.add_argument("--clip", type=float, default=0.2)
parser.add_argument("--seed", type=int, default=3)
args = parser.parse_args()
size = SIZES[args.size]
torch.manual_seed(args.seed)
np.random.seed(args.seed)


def layer(inside, outside, gain=2**0.5):
    linear = nn.Linear(inside, outside)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class ActorCritic(nn.Module):
    def __init__(self, observations, actions, hidden):
        super().__init__()
        self.body = nn.Sequential(layer(observations, hidden), nn.Tanh(), layer(hidden, hidden), nn.Tanh())
        self.actor, self.critic = layer(hidden, actions, 0.01), layer(hidden, 1, 1.0)

    def forward(self, observations):
        y = self.body(observations)
        return Categorical(logits=self.actor(y)), self.critic(y).squeeze(-1)


envs = [gym.make("CartPole-v1") for _ in range(size["envs"])]
test_env = gym.make("CartPole-v1")
agent = ActorCritic(envs[0].observation_space.shape[0], envs[0].action_space.n, size["hidden"])
optimizer = torch.optim.Adam(agent.parameters(), lr=args.lr, eps=1e-5)
observation = torch.tensor(np.stack([env.reset(seed=args.seed + i)[0] for i, env in enumerate(envs)]))

flor.checkpointing(agent=agent, optimizer=optimizer)
for update in flor.loop("epoch", range(args.epochs)):
    shape = (size["horizon"], size["envs"])
    obs, acts = torch.zeros(*shape, observation.shape[1]), torch.zeros(shape, dtype=torch.long)
    logps, rewards, dones, values = (torch.zeros(shape) for _ in range(4))
    for t in range(size["horizon"]):
        with torch.no_grad():
            distribution, values[t] = agent(observation)
        action = distribution.sample()
        obs[t], acts[t], logps[t] = observation, action, distribution.log_prob(action)
        following = []
        for i, env in enumerate(envs):
            state, rewards[t, i], terminated, truncated, _ = env.step(action[i].item())
            dones[t, i] = float(terminated or truncated)
            following.append(env.reset()[0] if terminated or truncated else state)
        observation = torch.tensor(np.stack(following))

    with torch.no_grad():
        value = agent(observation)[1]
    advantages, running = torch.zeros(shape), torch.zeros(size["envs"])
    for t in reversed(range(size["horizon"])):
        delta = rewards[t] + args.gamma * value * (1 - dones[t]) - values[t]
        running = delta + args.gamma * 0.95 * (1 - dones[t]) * running
        advantages[t], value = running, values[t]
    returns = (advantages + values).flatten()
    advantages = ((advantages - advantages.mean()) / (advantages.std() + 1e-8)).flatten()
    obs, acts, logps = obs.flatten(0, 1), acts.flatten(), logps.flatten()

    count = len(acts)
    indices = [torch.randperm(count).chunk(size["minibatches"]) for _ in range(size["passes"])]
    for mb in flor.loop("step", [part for parts in indices for part in parts]):
        distribution, predicted = agent(obs[mb])
        ratio = (distribution.log_prob(acts[mb]) - logps[mb]).exp()
        adv = advantages[mb]
        policy_loss = -torch.min(ratio * adv, ratio.clamp(1 - args.clip, 1 + args.clip) * adv).mean()
        value_loss = (predicted - returns[mb]).pow(2).mean()
        loss = policy_loss + 0.5 * value_loss - 0.01 * distribution.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())

    rewards_of_episodes = []
    for episode in range(3):
        state, total, over = test_env.reset(seed=episode)[0], 0.0, False
        while not over:
            with torch.no_grad():
                best = agent(torch.tensor(state))[0].probs.argmax().item()
            state, reward, terminated, truncated, _ = test_env.step(best)
            total, over = total + reward, terminated or truncated
        rewards_of_episodes.append(total)
    reward = float(np.mean(rewards_of_episodes))
    flor.log("reward", reward)
    print(f"update {update}: loss {loss.item():.3f}, reward {reward:.1f}")
