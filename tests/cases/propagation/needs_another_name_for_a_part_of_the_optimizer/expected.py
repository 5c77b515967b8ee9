import flor_ray as flor
from tools import done, fit, opt

for i in range(9):
    loss = fit(i)
    done(loss)
