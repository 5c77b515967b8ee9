# Conditions: {"where": ["epoch == 4", null]}
# Sources that no checkpoint holds, each reached in another way: a bound method, a closure, a default, a slot, a dict.
import ctypes
import functools
import queue
import sqlite3

import torch

import flor_ray as flor


def filled(begin):
    found = queue.Queue()
    for number in range(begin, begin + 99):
        found.put(number)
    return found


def drawing(source):
    def draw():
        return source.get()

    return draw


def by_default(source=filled(300)):
    return source.get()


class Reader:
    __slots__ = ("database", "table")

    def __init__(self, database):
        self.database = database
        self.table = database.execute("select n from numbers order by n")

    def read(self):
        return next(self.table)[0]


by_method = filled(100).get
by_closure = drawing(filled(200))
by_dict = {"a": [filled(400)]}
by_partial = functools.partial(queue.Queue.get, filled(500))
database = sqlite3.connect(":memory:")
database.execute("create table numbers (n)")
database.executemany("insert into numbers values (?)", [(n,) for n in range(600, 699)])
reader = Reader(database)
libc = ctypes.CDLL(None)
libc.srand(5)
net = torch.nn.Linear(7, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-9)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        drawn = [by_method(), by_closure(), by_default(), by_dict["a"][0].get(), by_partial(), reader.read()]
        drawn.append(libc.rand() % 1000)
        loss = net(torch.tensor([drawn], dtype=torch.float32)).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
#H         flor.log("drawn", sum(n * 10**i for i, n in enumerate(drawn)))
#H     flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
