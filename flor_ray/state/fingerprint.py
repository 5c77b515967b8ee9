"""Whether a value that was handed to functions has been changed by them, without keeping a copy of it.

A fingerprint covers what python can see: scalars, containers, attributes, arrays and tensors. Of arrays that are too
large to be kept in a checkpoint it covers a sample, which any update of the whole array changes.

torch and numpy are looked up in `sys.modules`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import blake3

from flor_ray.state.reachable import attributes

_NODES = 20_000  # of a graph of objects
_WHOLE_BYTES = 16 << 20  # larger arrays are sampled
_SAMPLED_ITEMS = 64 << 10

_ATOMS = (int, float, complex, str, bytes, type(None), range, slice)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def fingerprint(value: Any) -> str:
    """Differs if the value has changed since; equal fingerprints are no proof beyond the limits above."""
    digest = blake3.blake3()
    seen: set[int] = set()
    pending = [value]
    nodes = 0
    while pending and nodes < _NODES:
        item = pending.pop()
        nodes += 1
        if isinstance(item, _ATOMS):
            digest.update(f"{type(item).__name__}{item!r:.200}".encode("utf-8", "surrogatepass"))
            continue
        digest.update(str(id(item)).encode())
        if id(item) in seen or isinstance(item, _CODE):
            continue
        seen.add(id(item))
        pending += _parts(item, digest)
    return digest.hexdigest()


def _parts(item: Any, digest: Any) -> list[Any]:
    """What is in a value and has to be looked at too; the rest goes into the digest here."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(item, torch.Tensor):
        _tensor(item, digest)
        return []
    if numpy is not None and isinstance(item, numpy.ndarray):
        if item.dtype.hasobject:
            return item.ravel()[:_NODES].tolist()  # type: ignore[no-any-return]
        step = 1 if item.nbytes <= _WHOLE_BYTES else max(1, item.size // _SAMPLED_ITEMS)
        digest.update(numpy.ascontiguousarray(item.reshape(-1)[::step]).tobytes())
        return []
    if isinstance(item, types.GeneratorType):
        frame = item.gi_frame
        return [] if frame is None else [frame.f_lasti, *frame.f_locals.values()]
    if isinstance(item, dict):
        digest.update(str(len(item)).encode())
        return [part for pair in item.items() for part in pair][: 2 * _NODES]
    if isinstance(item, list | tuple | set | frozenset):
        digest.update(str(len(item)).encode())
        return list(item)[:_NODES]
    if isinstance(item, bytearray):
        digest.update(bytes(item))
        return []
    try:
        held = attributes(item)
    except Exception:  # noqa: BLE001 - a property of the user's class may raise anything
        return []
    return [part for pair in held.items() for part in pair]


def _tensor(tensor: Any, digest: Any) -> None:
    torch = sys.modules["torch"]
    version = 0 if tensor.is_inference() else tensor._version
    digest.update(f"{version} {tensor.device}".encode())  # `.data` is changed without a new version: look inside too
    if tensor.layout != torch.strided or tensor.numel() == 0 or tensor.is_quantized:
        return
    flat = tensor.detach()
    large = tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > _WHOLE_BYTES
    if large:
        flat = flat.reshape(-1) if flat.is_contiguous() else flat
        flat = flat[:: max(1, flat.shape[0] // _SAMPLED_ITEMS)] if flat.dim() else flat
    digest.update(flat.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
