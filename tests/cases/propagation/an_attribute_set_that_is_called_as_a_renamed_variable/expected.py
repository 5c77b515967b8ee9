def evaluate(policy, ob_rms, seed):
    envs = make_envs(seed)
    norm = get_normalizer(envs)
    if norm is not None:
        norm.eval()
        norm.ob_rms = ob_rms
    rewards = run(policy, envs)
    return rewards, ob_rms.mean
