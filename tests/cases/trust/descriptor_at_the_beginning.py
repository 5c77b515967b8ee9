# Expected: what a script writes by a descriptor that it has opened before the loop is in the file of that name.
# Conditions: {"files": {".gitignore": "*.bin\n"}, "where": ["epoch == 2", null]}
import subprocess

fd = os.open("written.bin", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
appended = os.dup(os.open("appended.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
#H     flor.log("first", [os.path.getsize("written.bin"), os.path.getsize("appended.bin")])
    for step in flor.loop("step", range(2)):
        os.write(fd, b"ab")
        subprocess.run(["echo", "line"], stdout=appended, check=True)
    flor.log("epoch_seen", epoch)
#H     flor.log("last", [os.path.getsize("written.bin"), os.path.getsize("appended.bin")])
