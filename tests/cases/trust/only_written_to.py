# Conditions: {"where": ["epoch == 5", null]}
# A log file, a progress bar, a lock, a logger, a writer that a helper has, and an event: none of them makes a value.
import csv
import logging
import tempfile
import threading

import torch
from tqdm import tqdm

import flor_ray as flor


class Journal:
    def __init__(self, file):
        self.writer, self.lock, self.lines = csv.writer(file), threading.Lock(), 0

    def line(self, *values):
        with self.lock:
            self.lines += 1
            self.writer.writerow(values)


def tell(file, text):
    print(text, file=file, flush=True)


out = tempfile.TemporaryFile("w")
logging.getLogger("train").addHandler(logging.StreamHandler(out))
journal = Journal(tempfile.TemporaryFile("w"))
done = threading.Event()
bar = tqdm(total=10, file=out)
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        loss = net(torch.randn(4, 2)).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        bar.update(1)
        bar.set_postfix(loss=loss.item())
        journal.line(epoch, step, loss.item())
#H         flor.log("first", net.weight[0, 0].item())
    tell(out, f"epoch {epoch}")
    logging.getLogger("train").warning("epoch %d", epoch)
    done.set()
#H     flor.log("lines", journal.lines)
    flor.log("loss", loss.item())
bar.close()
out.close()
