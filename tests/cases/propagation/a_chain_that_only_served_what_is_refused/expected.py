from tools import fit

for x in range(9):
    loss = fit(x)
