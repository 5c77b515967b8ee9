import flor_ray as flor

def main(envs):
    state = envs.reset()
    for step in range(9):
        old_log_probs = act(state)
        store(state, old_log_probs)
