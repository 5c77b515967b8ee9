import flor_ray as flor
from tools import fit, net


for i in range(9):
    loss = fit(i)
    done(loss)
