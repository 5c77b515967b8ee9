import flor_ray as flor

envs = make_envs()
# seed
np.random.seed(seed)
flor.log("first", np.random.rand())
np.random.shuffle(envs)
test_envs.seed(seed)
# define model
net = Net(envs)
