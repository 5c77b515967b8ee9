import flor_ray as flor

while seen < args.most:
    state = env.reset()
    action = agent.act(state, noise)
    reward = env.step(action)
    flor.log("reward", reward)  # carry
    memory.push(state, action, reward)
    seen += 1
