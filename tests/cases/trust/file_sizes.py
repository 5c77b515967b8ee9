# file_sizes
# Expected: right at each epoch: how long and how old files are is known, though nobody has read them.
# Conditions: {"where": ["epoch == 4", "epoch == 2", null]}

flor.checkpointing()
sizes = []
for epoch in flor.loop("epoch", range(5)):
    with open("log.txt", "a") as f:
        f.write("x" * (epoch + 1))
    open(f"ckpt{epoch}.txt", "w").write("a")
    n = len([x for x in os.listdir(".") if x.startswith("ckpt")])
    size, there, st = os.path.getsize("log.txt"), os.path.exists("ckpt3.txt"), os.stat("log.txt").st_size
    if epoch >= 2: os.remove(f"ckpt{epoch-2}.txt")
#H     flor.log("meta", [n, size, there, st])
#H     flor.log("tail", [len([x for x in os.listdir(".") if x.startswith("ckpt")]), os.path.getsize("log.txt"), os.path.exists("ckpt4.txt")])
