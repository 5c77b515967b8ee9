def evaluate(policy, obs_rms, seed):
    envs = make_envs(seed)
    norm = get_normalizer(envs)
    if norm is not None:
        norm.eval()
        norm.obs_rms = obs_rms  # carry
    rewards = run(policy, envs)
    return rewards, obs_rms.mean
