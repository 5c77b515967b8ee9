# Expected: how long a file is that is open for writing depends on what waits to be written, and where the next write goes.
# No checkpoint says so, and what asks for it is replayed from further back; whether there is a file may be asked.
# Conditions: {"files": {".gitignore": "*.bin\n"}, "where": ["epoch == 4", null]}
import csv
import logging
from pathlib import Path

table = open("table.bin", "w")
rows = csv.writer(table)
unbuffered = open("unbuffered.bin", "wb", buffering=0)
logger = logging.getLogger("train")
logger.addHandler(logging.FileHandler("log.bin"))
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        rows.writerow([epoch, step])
        unbuffered.write(b"ab")
        logger.warning("step %d", step)
#H         flor.log("unbuffered", os.stat("unbuffered.bin").st_size)
#H         flor.log("of_all", sum(each.stat().st_size for each in os.scandir() if each.name == "unbuffered.bin"))
    table.flush()
#H     flor.log("table", os.path.getsize("table.bin"))
#H     flor.log("by_number", os.fstat(table.fileno()).st_size)
#H     flor.log("log", Path("log.bin").stat().st_size)
#H     flor.log("there", [os.path.exists("table.bin"), Path("table.bin").is_file()])
    flor.log("epoch_seen", epoch)
