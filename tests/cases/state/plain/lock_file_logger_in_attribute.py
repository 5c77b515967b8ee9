import flor_ray as flor
import threading, logging, tempfile
class Run:
    def __init__(self):
        self.lock = threading.Lock(); self.f = tempfile.TemporaryFile("w"); self.logger = logging.getLogger("x"); self.n = 0
        self.thread_local = threading.local()
    def step(self):
        with self.lock:
            self.n += 1; self.f.write("x"); self.logger.debug("y")
r = Run()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        r.step()
    flor.log("tail", r.n)
flor.log("suffix", r.n)
