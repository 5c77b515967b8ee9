import flor_ray as flor
import sys, types, pathlib
sys.path.insert(0, str(pathlib.Path(__file__).parent))
pathlib.Path(__file__).with_name("helper_mod.py").write_text('''
import deeper_mod
count = 0
hist = []
class Reg:
    items = {}
def step(x):
    global count
    count += x
    hist.append(count)
    Reg.items[x] = count
    deeper_mod.note(count)
''')
pathlib.Path(__file__).with_name("deeper_mod.py").write_text('''
_notes = {"n": 0}
level = 1
def note(x):
    _notes["n"] += x
''')
import helper_mod, deeper_mod
from helper_mod import step as do
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        do(step + 1)
        helper_mod.step(1)
    deeper_mod.level += 1
    flor.log("tail", [helper_mod.count, len(helper_mod.hist), helper_mod.Reg.items, deeper_mod._notes["n"], deeper_mod.level])
flor.log("suffix", [helper_mod.count, deeper_mod._notes["n"], deeper_mod.level])
