"""Reading checkpoint files of other programs, without running anything of them.

    *.pt, *.pth, *.bin, *.ckpt     torch.save: read with weights_only=True; Lightning's say so themselves
    *.safetensors
    checkpoint-500/                Hugging Face's Trainer: the model's weights, trainer_state.json, optimizer.pt, ...
    a folder with model.safetensors or pytorch_model.bin: save_pretrained, Accelerate's save_state

torch is imported when the first file is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flor_ray.analysis.adopting.saves import WHOLE
from flor_ray.analysis.adopting.script import EpochsOf
from flor_ray.errors import UsageError
from flor_ray.wording import counted, size

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".tar")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TRAINER = "trainer_state.json"
# Of a folder of a Trainer's or Accelerate's: key -> files.
_BESIDE = {"optimizer": ("optimizer.pt", "optimizer.bin"), "scheduler": ("scheduler.pt", "scheduler.bin")}
_LIGHTNING = "pytorch-lightning_version"
_LISTS = {"optimizer_states": "optimizer", "lr_schedulers": "scheduler"}  # of Lightning's files: key -> ours, numbered
_HASHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """What one checkpoint file, or folder, of a run holds."""

    path: str
    epochs_of: EpochsOf
    states: Mapping[str, str]  # key -> in words
    values: Mapping[str, object]  # key -> number, text or truth value
    modified: float  # unix seconds
    number: int | None = None  # in its name
    epoch: int | None = None  # that it says itself, from 1
    why_not: str = ""  # it cannot be used
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = field(default=())  # keys with neither


def found_at(wanted: str) -> list[str]:
    """The checkpoint files that a pattern or a folder names, in the order of their names.

    Raises:
        UsageError: there are none.
    """
    pattern = re.sub(r"\{[^{}]*\}", "*", wanted)
    here = Path(pattern)
    if "*" not in pattern and here.is_dir() and not _is_one(here):
        found = [p for p in here.iterdir() if (p.is_dir() and _is_one(p)) or (p.is_file() and p.suffix in SUFFIXES)]
    elif "*" in pattern:
        folder = Path(here.anchor or ".")
        found = list(folder.glob(str(here.relative_to(here.anchor) if here.anchor else here)))
        found = [p for p in found if _is_one(p) or p.is_file()]
    else:
        found = [here] if here.exists() else []
    if not found:
        raise UsageError(
            f"No checkpoint files at {wanted}. Give a folder, or a pattern such as 'ckpt/epoch_{{epoch}}.pt' (in "
            f"quotes); files end in {', '.join(SUFFIXES)}."
        )
    return sorted((str(path) for path in found), key=_natural)


def _natural(text: str) -> list[object]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def _is_one(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in (*_WEIGHTS, f"{_WEIGHTS[0]}.index.json"))


def looked_at(path: str, pickles: bool) -> CheckpointFile:
    """What a checkpoint file holds. `pickles`: whether what only a pickle can say may be run."""
    modified = os.stat(path).st_mtime
    try:
        content = loaded(path, pickles)
    except (UsageError, OSError, ValueError, RuntimeError) as error:
        return CheckpointFile(path, EpochsOf.SCRIPT, {}, {}, modified, why_not=str(error).partition("\n")[0])
    if _is_of_trainer(path):
        return _of_trainer(path, content, os.stat(os.path.join(path, _TRAINER)).st_mtime)
    states = {key: _in_words(value) for key, value in content.items() if is_state(value)}
    states |= _beside_model(content) if os.path.isdir(path) else {}
    if _LIGHTNING in content:
        return _of_lightning(path, content, states, modified)
    values = {key: v for key, v in content.items() if isinstance(v, int | float | str | bool)}
    others = tuple(key for key in content if key not in states and key not in values)
    why = "" if states else "it holds no state_dict"
    return CheckpointFile(path, EpochsOf.SCRIPT, states, values, modified, why_not=why, others=others)


def loaded(path: str, pickles: bool) -> dict[str, Any]:
    """The content of a checkpoint file by key; a file that is a state itself has the key "".

    Raises:
        UsageError: it cannot be read without running what is in it, and that is not allowed.
        OSError, ValueError, RuntimeError: it cannot be read.
    """
    if os.path.isdir(path):
        return {WHOLE: _folder_weights(Path(path), pickles)} | _kept_beside(Path(path), pickles)
    if path.endswith(".safetensors"):
        return {WHOLE: _safetensors(path)}
    content = _torch(path, pickles)
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"it holds a {type(content).__name__}, and no dict of states")
    if _LIGHTNING in content:
        return {
            **content,
            **{f"{k} {at}": each for key, k in _LISTS.items() for at, each in enumerate(content.get(key, ()))},
        }
    return {WHOLE: dict(content)} if is_state(content) else dict(content)


def _is_of_trainer(path: str) -> bool:
    return os.path.isfile(os.path.join(path, _TRAINER))


def _folder_weights(folder: Path, pickles: bool) -> dict[str, Any]:
    index = folder / f"{_WEIGHTS[0]}.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if any("/" in name or name.startswith(".") for name in names):
            raise ValueError(f"{index.name} names files outside of its folder")
        found: dict[str, Any] = {}
        for name in names:
            found |= _safetensors(str(folder / name))
        return found
    if (folder / _WEIGHTS[0]).is_file():
        return _safetensors(str(folder / _WEIGHTS[0]))
    return dict(_torch(str(folder / _WEIGHTS[1]), pickles))


def _kept_beside(folder: Path, pickles: bool) -> dict[str, Any]:
    """What a folder has besides the model, as far as it can be read: what it lacks is not listed."""
    found = {}
    for key, names in _BESIDE.items():
        for file in (folder / name for name in names if (folder / name).is_file()):
            with contextlib.suppress(UsageError):
                found[key] = _torch(str(file), pickles)
    return found


def _safetensors(path: str) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(f"safetensors cannot be imported ({error}): install it to read {path}.") from error
    return dict(load_file(path, device="cpu"))


def _torch(path: str, pickles: bool) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(f"torch cannot be imported ({error}): install it to read {path}.") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        if not pickles:
            what = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
            named = f" ({what.group(1)})" if what else ""
            raise UsageError(
                f"it cannot be read without running what is in it{named}; FLOR_PICKLES=allow does that, for files that "
                "you trust"
            ) from error
    return torch.load(path, map_location="cpu", weights_only=False)


def is_state(value: object) -> bool:
    """Whether a value is what `state_dict()` of a module or an optimizer returns."""
    if not isinstance(value, Mapping) or not value:
        return False
    if {"state", "param_groups"} <= value.keys():
        return True
    return all(isinstance(key, str) for key in value) and all(hasattr(v, "data_ptr") for v in value.values())


def _in_words(value: Mapping[str, Any]) -> str:
    if "param_groups" in value:
        return f"an optimizer's state, of {counted(sum(len(g['params']) for g in value['param_groups']), 'parameter')}"
    held = sum(tensor.numel() * tensor.element_size() for tensor in value.values())
    return f"{counted(len(value), 'tensor')}, {size(held)}"


def _of_trainer(path: str, content: Mapping[str, Any], modified: float) -> CheckpointFile:
    said = json.loads(Path(path, _TRAINER).read_text())
    epoch = said.get("epoch")
    whole = isinstance(epoch, int | float) and abs(epoch - round(epoch)) < 1e-6 and epoch >= 1
    why = "" if whole else f"it is of the midst of an epoch ({epoch})"
    values = {"global_step": said.get("global_step", 0)}
    states = {WHOLE: _in_words(content[WHOLE])} | _beside_model(content)
    at = round(epoch) if whole else None
    return CheckpointFile(path, EpochsOf.HUGGING_FACE, states, values, modified, epoch=at, why_not=why)


def _of_lightning(path: str, content: Mapping[str, Any], states: Mapping[str, str], modified: float) -> CheckpointFile:
    epoch = content.get("epoch")
    fit = content.get("loops", {}).get("fit_loop", {})
    progress = fit.get("epoch_loop.batch_progress", {})
    why = "" if progress.get("is_last_batch", True) else f"it is of the midst of epoch {int(epoch or 0) + 1}"
    values = {"global_step": content.get("global_step", 0)}
    kept = {key: words for key, words in states.items() if key == "state_dict"} | _beside_model(content)
    at = epoch + 1 if isinstance(epoch, int) else None
    return CheckpointFile(path, EpochsOf.LIGHTNING, kept, values, modified, epoch=at, why_not=why)


def _beside_model(content: Mapping[str, Any]) -> dict[str, str]:
    """The states of optimizers and schedulers that a Trainer has kept, in words."""
    found = {key: value for key, value in content.items() if key.partition(" ")[0] in _BESIDE}
    return {key: _in_words(value) if "param_groups" in value else "a scheduler's state" for key, value in found.items()}


def digest_of(path: str) -> str:
    """A digest of a file's content; of a folder's, of its weights."""
    found = hashlib.blake2b(digest_size=16)
    for each in _parts(Path(path)):
        found.update(each.name.encode())
        with each.open("rb") as file:
            while data := file.read(_HASHED_BYTES):
                found.update(data)
    return found.hexdigest()


def _parts(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".bin") or p.name == _TRAINER)


def of_one_kind(files: Iterable[CheckpointFile]) -> EpochsOf:
    """Who wrote these files. Raises UsageError if several did."""
    kinds = sorted({file.epochs_of for file in files if not file.why_not})
    if len(kinds) > 1:
        raise UsageError(f"These checkpoint files are of several kinds ({', '.join(kinds)}): name those of one run.")
    return kinds[0] if kinds else EpochsOf.SCRIPT
