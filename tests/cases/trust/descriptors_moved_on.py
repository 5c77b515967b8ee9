# Expected: where the system's descriptors stand is in no checkpoint, and they have other numbers in a replay: the epochs
# of a script that has moved on in a file by one of them are replayed from the start.
# Conditions: {"files": {".gitignore": "*.bin\n", "letters.txt": "abcdefghijklmnopqrstuvwxyz"}, "where": ["epoch == 4", null]}
import tempfile

read = os.open("letters.txt", os.O_RDONLY)
emptied = os.open("emptied.bin", os.O_WRONLY | os.O_CREAT)
memory = os.memfd_create("memory")
temporary, path = tempfile.mkstemp()
later, letter = None, b""
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    if epoch == 1:
        later = os.open("later.bin", os.O_WRONLY | os.O_CREAT)
    for step in flor.loop("step", range(2)):
        letter = os.read(read, 1)
        os.write(emptied, b"ab")
        os.write(memory, b"ab")
        os.write(temporary, b"ab")
        if later is not None:
            os.write(later, b"ab")
#H         flor.log("letter", letter.decode())
#H         flor.log("emptied", os.path.getsize("emptied.bin"))
    os.ftruncate(emptied, 0)
    flor.log("epoch_seen", epoch)
#H     flor.log("memory", os.fstat(memory).st_size)
#H     flor.log("temporary", os.path.getsize(path))
#H     flor.log("later", os.path.exists("later.bin") and os.path.getsize("later.bin"))
