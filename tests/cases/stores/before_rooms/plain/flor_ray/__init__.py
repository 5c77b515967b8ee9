"""Stands in for flor_ray when the right answers are computed: it writes down what a script logs, and keeps nothing.

Each value becomes a line of JSON in the file that the environment variable TOLD names:

    [level, epoch, step, name, iteration, kind, what the value looks like]

It shares no code with flor_ray, so that both can be compared.
"""

import argparse
import collections
import contextlib
import json
import os
import pickle
import sys
from dataclasses import dataclass

_given = {}
_args = {}
_place = {"epoch": None, "step": None}
_counts = collections.Counter()
_file = open(os.environ["TOLD"], "a", buffering=1)

if "--kwargs" in sys.argv:
    at = sys.argv.index("--kwargs")
    _given = dict(word.split("=") for word in sys.argv[at + 1 :])
    del sys.argv[at:]


@dataclass(frozen=True)
class Query:
    names: list
    where: str = None
    share: float = 1.0


def _array(array):
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}


def looks(value):
    """A value's kind, and what it looks like as JSON."""
    import numpy as np

    torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
    if value is None or isinstance(value, bool):
        return "none" if value is None else "bool", value
    if isinstance(value, int):
        return ("int", value) if abs(value) < 2**63 else ("bigint", value)
    if isinstance(value, float):
        return "float", value
    if isinstance(value, str):
        return "escaped" if any("\ud800" <= letter <= "\udfff" for letter in value) else "str", value
    if isinstance(value, bytes):
        return "bytes", value.hex()
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach()
        return "tensor", _array((value.float() if value.dtype == torch.bfloat16 else value).numpy())
    if isinstance(value, np.ndarray):
        return "array", _array(value)
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return "dataframe", {"index": list(value.index), "columns": {name: list(value[name]) for name in value}}
    try:
        return "json", json.loads(json.dumps(value))
    except TypeError:
        pass
    try:
        pickle.dumps(value)
    except TypeError:
        return "repr", repr(value)
    return "pickle", repr(value)


def _tell(level, epoch, step, name, value):
    iteration = _counts[epoch, step, name]
    _counts[epoch, step, name] += 1
    _file.write(json.dumps([level, epoch, step, name, iteration, *looks(value)]) + "\n")


def arg(name, default=None):
    if name not in _args:
        _args[name] = type(default)(_given[name]) if name in _given else default
        _tell("d", None, None, name, _args[name])
    return _args[name]


def log(name, value):
    epoch, step = _place["epoch"], _place["step"]
    _tell("d" if epoch is None else "o" if step is None else "i", epoch, step, name, value)
    return value


def loop(name, iterable):
    which, first = ("epoch", 1) if _place["epoch"] is None else ("step", 0)
    for _place[which], element in enumerate(iterable, first):
        yield element
    _place[which] = None


_begun = {"epoch": 0, "step": -1}


@contextlib.contextmanager
def iteration(name):
    which = "epoch" if _place["epoch"] is None else "step"
    _begun[which] += 1
    if which == "epoch":
        _begun["step"] = -1
    _place[which] = _begun[which]
    yield
    _place[which] = None


class checkpointing(contextlib.nullcontext):
    def __init__(self, *objects, **named):
        super().__init__()


def autolog():
    original = argparse.ArgumentParser.parse_args

    def parse_args(parser):
        found = original(parser)
        for name, value in vars(found).items():
            _tell("d", None, None, name, value)
        return found

    argparse.ArgumentParser.parse_args = parse_args
