import flor_ray as flor
from settings import *

for epoch in range(EPOCHS):
    train(net)
    stop(net, LIMIT)
