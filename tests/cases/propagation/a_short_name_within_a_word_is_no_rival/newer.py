import flor_ray as flor

def main(envs):
    obs = envs.reset()
    for step in range(9):
        action_log_probs = act(obs)
        flor.log("seen", obs.mean())  # carry
        store(obs, action_log_probs)
