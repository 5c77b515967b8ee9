def advantages_of(rewards, values, dones, last):
    for t in reversed(range(steps)):
        if t == steps - 1:
            going = 1.0 - last
            following = bootstrap
        else:
            going = 1.0 - dones[t + 1]
            following = values[t + 1]  # carry
        delta = rewards[t] + gamma * following * going - values[t]
        advantages[t] = previous = delta + gamma * going * previous
