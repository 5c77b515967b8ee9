"""FlorDB, in a virtual environment of its own: `python peer.py EPOCHS STEPS NAMES`, in a git repository.

Fills FlorDB's database by its own functions, as its loops over ranges do, and prints the processor seconds and the rows
of `flordb.dataframe`. Of ours nothing is imported here.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any


def main() -> None:
    epochs, steps, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
    sys.argv = ["-c"]  # FlorDB reads the command line when it is imported, and records any other script as a run
    from flordb import constants, database, repl  # type: ignore[import-not-found]

    def log(name: str, epoch: int, step: int) -> dict[str, Any]:
        loops = [{"name": n, "iteration": i, "value": str(i)} for n, i in (("epoch", epoch), ("step", step))]
        return {
            "projid": constants.PROJID,
            "tstamp": "2026-01-01T00:00:00.000000",
            "filename": "train.py",
            "ctx": loops,
            "name": name,
            "value": random.random(),
            "type": constants.VALUE_TYPE_LOG,
        }

    connection, cursor = database.conn_and_cursor()
    database.create_tables(cursor)
    for epoch in range(epochs):
        database.unpack([log(name, epoch, step) for step in range(steps) for name in names], cursor)
    connection.commit()
    connection.close()
    began = time.process_time()
    rows = len(repl.dataframe(*names))
    print(json.dumps({"seconds": time.process_time() - began, "rows": rows}))


if __name__ == "__main__":
    main()
