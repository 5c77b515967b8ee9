# files_held_open
# Expected: what is written through a descriptor or a mapping is as it was; no checkpoint can hold where these stand, so replays run from the start.
# Conditions: {"files": {".gitignore": "*.bin\n"}, "where": ["epoch == 4", null]}
fd = os.open("raw.bin", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
mapped = np.memmap("mapped.bin", dtype="f4", mode="w+", shape=(4,))
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        os.write(fd, b"ab")
        mapped[step] += epoch + 1
    flor.log("epoch_seen", epoch)
#H     flor.log("position", os.lseek(fd, 0, os.SEEK_CUR))
#H     flor.log("size", os.path.getsize("raw.bin"))
#H     flor.log("mapped", np.fromfile("mapped.bin", dtype="f4").tolist())
#H flor.log("end", os.path.getsize("raw.bin"))
