from rich.progress import track
from tools import loader, step

for batch in track(loader):
    loss = step(batch)
