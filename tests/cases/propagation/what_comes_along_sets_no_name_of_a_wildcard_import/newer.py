import flor_ray as flor
from settings import *

for epoch in range(EPOCHS):
    train(net)
    for batch in others:
        loss = check(net, batch)
        flor.log("loss", loss)  # carry
