from tools import fit
import viz  # carry

writer = viz.Writer(3)  # carry
for x in range(9):
    loss = fit(x)
    sched.step()
    writer.add(sched.lr)  # carry
