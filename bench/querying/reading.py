"""Reads a store in a process of its own: `python reading.py (whole | streamed) FOLDER STORE`.

Prints one JSON object: processor seconds of reading, without those of imports, the process's greatest memory in bytes,
and the number of rows.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet  # noqa: F401 - imports are not what is measured

from flor_ray import lookup
from flor_ray.store.pivoting import data_frames, pivots  # noqa: F401


def main() -> None:
    how, folder, store = sys.argv[1:]
    pd.DataFrame({"text": pd.array(["a"], dtype="str")})  # what pandas imports when it is first used
    began = time.process_time()
    if how == "whole":
        rows = len(lookup.dataframe(path=folder, store_url=store))
    else:
        rows = sum(len(frame) for frame in lookup.dataframes(path=folder, store_url=store))
    seconds = time.process_time() - began
    status = Path("/proc/self/status").read_text()  # getrusage tells no less than what the parent held
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"seconds": seconds, "bytes": peak, "rows": rows}))


if __name__ == "__main__":
    main()
