"""A script without loops: values of every kind, and a command line that autolog reads."""

import argparse
import fractions

import numpy as np
import pandas as pd
import torch

import flor_ray as flor


class Handle:
    """What cannot be pickled."""

    def __reduce_ex__(self, protocol):
        raise TypeError("a handle stays where it is")

    def __repr__(self):
        return "Handle(3)"


flor.autolog()
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.5)
parser.add_argument("--sizes", type=int, nargs="*", default=[3, 5])
parser.parse_args()

flor.log("number", 0.1 + 0.2)
flor.log("whole", -3)
flor.log("huge", 2**70 + 1)
flor.log("yes", True)
flor.log("nothing", None)
flor.log("nan", float("nan"))
flor.log("infinite", float("-inf"))
flor.log("text", "naïve ✓")
flor.log("not_utf8", b"caf\xe9 \xff".decode("utf-8", "surrogateescape"))
flor.log("bytes", bytes(range(250, 256)))
flor.log("json", {"a": [1, 2.5, None, True], "b": {"c": "d", "e": float("nan")}})
flor.log("array", np.arange(6, dtype=np.float32).reshape(2, 3) / 7)
flor.log("mask", np.array([True, False, True]))
flor.log("tensor", torch.linspace(0, 1, 5, dtype=torch.float64))
flor.log("half", torch.tensor([1.0, 0.3, -2.5], dtype=torch.bfloat16))
flor.log("frame", pd.DataFrame({"kind": ["a", "b"], "share": [0.25, 0.75]}))
flor.log("numbered", pd.DataFrame([[1, 2], [3, 4]], index=[5, 6]))
flor.log("fraction", fractions.Fraction(1, 3))
flor.log("question", flor.Query(["grad_norm"], "epoch >= 2", share=2.0))
flor.log("handle", Handle())
for word in ("once", "twice"):
    flor.log("word", word)
