import tools
from tools import deep

deep.start()
for batch in loader:
    loss = step(batch)
    mean = deep.average(loss)
    if deep.is_root():
        print(loss)
