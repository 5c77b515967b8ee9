"""Proximal policy optimization on CartPole: rollouts, advantages, and several passes of minibatches over them."""

from collections import deque

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import flor_ray as flor

seed = flor.arg("seed", 1)
updates = flor.arg("updates", 6)
horizon = flor.arg("horizon", 256)
minibatch = flor.arg("minibatch", 64)
passes = flor.arg("passes", 3)
gamma, lam, clip = 0.99, 0.95, flor.arg("clip", 0.2)


class Agent(nn.Module):
    def __init__(self, observations, actions):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(observations, 64), nn.Tanh(), nn.Linear(64, actions))
        self.critic = nn.Sequential(nn.Linear(observations, 64), nn.Tanh(), nn.Linear(64, 1))

    def act(self, observation):
        distribution = Categorical(logits=self.actor(observation))
        action = distribution.sample()
        return action, distribution.log_prob(action), self.critic(observation).squeeze(-1)


def advantages_of(rewards, values, dones, last_value):
    result = torch.zeros_like(rewards)
    running = 0.0
    for t in reversed(range(len(rewards))):
        following = last_value if t == len(rewards) - 1 else values[t + 1]
        alive = 1.0 - dones[t]
        delta = rewards[t] + gamma * following * alive - values[t]
        running = delta + gamma * lam * alive * running
        result[t] = running
    return result


env = gym.make("CartPole-v1")
env.action_space.seed(seed)
agent = Agent(env.observation_space.shape[0], env.action_space.n)
optimizer = torch.optim.Adam(agent.parameters(), lr=flor.arg("lr", 3e-3), eps=1e-5)

observation, _ = env.reset(seed=seed)
observation = torch.tensor(observation)
episode_return, recent = 0.0, deque(maxlen=20)
total_steps = 0

flor.checkpointing(agent=agent, optimizer=optimizer)
for update in flor.loop("update", range(updates)):
    observations, actions, log_probs = [], [], []
    rewards, dones, values = torch.zeros(horizon), torch.zeros(horizon), torch.zeros(horizon)
    for t in flor.loop("rollout", range(horizon)):
        with torch.no_grad():
            action, log_prob, value = agent.act(observation)
        observations.append(observation)
        actions.append(action)
        log_probs.append(log_prob)
        values[t] = value
        following, reward, terminated, truncated, _ = env.step(action.item())
        rewards[t], dones[t] = reward, float(terminated or truncated)
        episode_return += reward
        total_steps += 1
        if terminated or truncated:
            recent.append(episode_return)
            flor.log("episode_return", episode_return)
            episode_return = 0.0
            following, _ = env.reset()
        observation = torch.tensor(following)

    with torch.no_grad():
        last_value = agent.critic(observation).squeeze(-1)
    advantages = advantages_of(rewards, values, dones, last_value)
    returns = advantages + values
    b_obs, b_act, b_logp = torch.stack(observations), torch.stack(actions), torch.stack(log_probs)

    for _ in flor.loop("pass", range(passes)):
        indices = np.random.permutation(horizon)
        for start in range(0, horizon, minibatch):
            mb = indices[start : start + minibatch]
            distribution = Categorical(logits=agent.actor(b_obs[mb]))
            ratio = (distribution.log_prob(b_act[mb]) - b_logp[mb]).exp()
            adv = (advantages[mb] - advantages[mb].mean()) / (advantages[mb].std() + 1e-8)
            policy_loss = -torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv).mean()
            value_loss = (agent.critic(b_obs[mb]).squeeze(-1) - returns[mb]).pow(2).mean()
            entropy = distribution.entropy().mean()
            loss = policy_loss + 0.5 * value_loss - 0.01 * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
        flor.log("policy_loss", policy_loss.item())

    flor.log("mean_return", float(np.mean(recent)) if recent else 0.0)
    flor.log("entropy", entropy.item())
    print(f"update {update}: {total_steps} steps, mean return {np.mean(recent) if recent else 0:.1f}")
env.close()
