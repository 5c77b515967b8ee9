import flor_ray as flor

config = get_config()
print(config)

# inits and logging
os.makedirs(config.work_dir)
write(config)

# construct datasets
train = Data(config)
