def advantages_of(rewards, values, dones, last):
    if use_gae:
        for t in reversed(range(steps)):
            if t == steps - 1:
                going = 1.0 - last
                following = bootstrap
            else:
                going = 1.0 - dones[t + 1]
            delta = rewards[t] + gamma * following * going - values[t]
            advantages[t] = previous = delta + gamma * going * previous
    else:
        for t in reversed(range(steps)):
            if t == steps - 1:
                going = 1.0 - last
                returned = bootstrap
            else:
                going = 1.0 - dones[t + 1]
                returned = returns[t + 1]
            returns[t] = rewards[t] + gamma * going * returned
