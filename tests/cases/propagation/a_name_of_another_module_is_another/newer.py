from tools import loader, step
from tqdm import tqdm

for batch in tqdm(loader):
    loss = step(batch)
    tqdm.write(str(loss))  # carry
