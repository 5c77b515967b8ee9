import flor_ray as flor

while True:
    state = env.reset()
    action = agent.act(state, noise)
    reward = env.step(action)
    memory.push(state, action, reward)
    if len(memory) > 1000:
        break
