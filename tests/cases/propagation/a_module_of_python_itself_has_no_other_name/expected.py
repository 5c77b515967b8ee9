import flor_ray as flor
import random_seed

random_seed.set(0)
net = train()
