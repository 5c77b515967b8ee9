import flor_ray as flor
import collections
class Meter(dict):
    def add(self, k, v):
        self[k] = self.get(k, 0) + v
        self.last = v
class Hist(list):
    pass
meter, hist = Meter(), Hist()
dd = collections.defaultdict(list)
cnt = collections.Counter()
od = collections.OrderedDict()
dq = collections.deque(maxlen=3)
ring = dq
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        meter.add(step, epoch)
        hist.append(step)
        dd[epoch].append(step)
        cnt[step] += 1
        od[epoch] = step
        ring.append(epoch)
    flor.log("tail", [dict(meter), meter.last, list(hist), dict(dd), dict(cnt), list(od.items()), list(dq)])
flor.log("suffix", [dict(meter), len(hist)])
