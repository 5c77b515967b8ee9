"""Modes of the process that the loop sets, and takes back."""

import decimal
import os
import sys
import warnings

import numpy as np
import torch

import flor_ray as flor

base = {name: value for name, value in os.environ.items() if name != "PHASE"}
os.environ.clear()
os.environ.update(base)
torch.set_default_dtype(torch.float32)
torch.set_grad_enabled(True)
torch.use_deterministic_algorithms(False)
torch.set_float32_matmul_precision("highest")
torch.set_printoptions(precision=4)
torch.set_num_threads(2)
torch.autograd.set_detect_anomaly(False)
torch.set_autocast_enabled("cpu", False)
np.seterr(divide="warn")
np.set_printoptions(precision=8)
decimal.getcontext().prec = 28
sys.setrecursionlimit(3000)
warnings.resetwarnings()
path = list(sys.path)
depth = 0


def now():
    return [
        str(torch.zeros(1).dtype),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.get_num_threads(),
        torch.is_anomaly_enabled(),
        torch.is_autocast_enabled("cpu"),
        str(torch.tensor(1 / 3)),
        np.geterr()["divide"],
        str(np.array([1 / 3])),
        str(decimal.Decimal(1) / 3),
        os.environ.get("PHASE", "none"),
        sys.path[0] == "/nowhere",
        sys.getrecursionlimit(),
        len(warnings.filters),
    ]


torch.backends.cudnn.benchmark = False
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    flor.log("head", now())
    if epoch == 1:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(1)
        torch.autograd.set_detect_anomaly(True)
        np.seterr(divide="raise")
        np.set_printoptions(precision=2)
        sys.path.insert(0, "/nowhere")
        sys.setrecursionlimit(4000)
        warnings.simplefilter("error")
    for step in flor.loop("step", range(2)):
        if epoch == 2:
            torch.set_float32_matmul_precision("medium")
            torch.set_printoptions(precision=2)
            torch.set_autocast_enabled("cpu", True)
            decimal.getcontext().prec = 5 + step
            os.environ["PHASE"] = f"warm {step}"
        flor.log("inner", now())
    flor.log("tail", now())
    if epoch == 3:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.set_autocast_enabled("cpu", False)
        torch.autograd.set_detect_anomaly(False)
        del os.environ["PHASE"]
        sys.path.remove("/nowhere")
        warnings.resetwarnings()
flor.log("ended", now())
