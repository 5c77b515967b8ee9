import flor_ray as flor

envs = make_envs()
# seed
np.random.seed(seed)
flor.log("first", np.random.rand())  # carry
# define model
net = Net(envs)
