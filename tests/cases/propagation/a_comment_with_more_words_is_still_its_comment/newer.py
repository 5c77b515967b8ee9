import flor_ray as flor

config = get_config()
print(config)

# inits
flor.log("seed", config.seed)  # carry

# construct datasets
train = Data(config)
