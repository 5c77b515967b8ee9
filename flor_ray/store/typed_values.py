"""Typed values and the columns of the tables E, G, C and F, and the store's format version. No I/O happens here.

    flor.log(x) ── encode ──> Value ── F's columns type, number, integer, text ──> Value ── decode ──> x
                                └─ blob ── S, its key goes into text ─────────────────┘

`encode` takes a copy: changing the value afterwards changes nothing. Python scalars, strings, JSON-like values and
bytes come back equal (tuples as lists). Other values come back as:

    array, tensor   numpy array (bfloat16 and float8 widened to float32; their dtype is kept in the blob)
    dataframe       DataFrame; one that only pickles, like any other pickle
    image           PNG bytes
    pickle          `NotLoaded`, which stands for it; the object, if pickles are allowed and its class is importable
    repr            text, for what cannot even be pickled (a FlorWarning says so once per type)
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flor_ray import stored_names
from flor_ray.errors import FlorWarning, StoreError
from flor_ray.records import Value
from flor_ray.store import checks, not_loaded
from flor_ray.wording import printable

FORMAT_VERSION = 3  # raise it when an older flor_ray would misread a store that this one wrote
COMPACTED_FORMAT = 3  # from which on there may be compacted files, which older releases would overlook
_OLDEST_FORMAT = 2  # that this one reads

VALUE_COLUMNS = ("type", "number", "integer", "text")

_PARQUET = b"PAR1"
BLOB_TYPES = frozenset({"bytes", "array", "tensor", "dataframe", "image", "pickle"})
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Deferred(Value):
    """A tensor on its way from a CUDA device to pinned memory: the script does not wait for it, who stores it does."""

    type: str = "deferred"
    copy: Any = None
    copied: Any = None  # CUDA event

    @property
    def bytes(self) -> int:
        """Pinned memory that it takes until it is stored."""
        return int(self.copy.nbytes)

    def arrived(self) -> Value:
        """Waits for the device."""
        self.copied.synchronize()
        return encode(self.copy)


def check_format(found: object, where: str) -> None:
    """Raise StoreError unless this version of flor_ray can read a store of format `found`."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise StoreError(f"{where} does not say which format the store has (it says {found!r}). Restore that file.")
    if found > FORMAT_VERSION:
        raise StoreError(
            f"{where} says that the store has format {found}, and this flor_ray reads up to format {FORMAT_VERSION}. "
            "Upgrade flor_ray."
        )
    if found < _OLDEST_FORMAT:
        raise StoreError(
            f"{where} says that the store has format {found}, of a flor_ray before its first release, and this one "
            f"reads formats from {_OLDEST_FORMAT} on. Choose another store, and record the versions again."
        )


# --- encode ---------------------------------------------------------------------------------------------------------


def encode(value: object) -> Value:
    """The stored form of any object. Never raises for the object's sake: in the worst case it is kept as its repr."""
    kind = type(value)
    if kind is float:
        return Value("float", value)  # type: ignore[arg-type]
    if kind is int:
        return _int(value)  # type: ignore[arg-type]
    if kind is str:
        return _str(value)  # type: ignore[arg-type]
    if kind is bool:
        return Value("bool", None, int(value))  # type: ignore[call-overload]
    if value is None:
        return Value("none")
    try:
        return _scalar(value) or _json(value) or _special(value) or _pickled(value)
    except Exception as error:  # noqa: BLE001 - any user's class may raise anything; training must go on
        return _repr(value, error)


def encode_later(value: object) -> Value:
    """Like `encode`, without waiting for a CUDA device: a training loop must not be held up by what it logs."""
    torch = sys.modules.get("torch")
    if torch is not None:
        try:
            if isinstance(value, torch.Tensor) and value.is_cuda and value.layout is torch.strided:
                return _deferred(torch, value.detach())
        except Exception:  # noqa: BLE001 - no memory can be pinned, for one; what cannot be had later is had now
            return encode(value)
    return encode(value)


def waiting_bytes(value: Value) -> int:
    """Memory that a value takes until it is stored, beside a few numbers."""
    if isinstance(value, Deferred):
        return value.bytes
    return 0 if value.blob is None else len(value.blob)


def _deferred(torch: Any, plain: Any) -> Deferred:
    copy = torch.empty(plain.shape, dtype=plain.dtype, device="cpu", pin_memory=True)
    with torch.cuda.device(plain.device):
        copy.copy_(plain, non_blocking=True)
        copied = torch.cuda.current_stream().record_event()
    return Deferred(copy=copy, copied=copied)


def _int(value: int) -> Value:
    if _INT64_MIN <= value <= _INT64_MAX:
        return Value("int", None, value)
    return Value("bigint", None, None, hex(value))  # hex has no length limit, unlike decimal text


def _str(value: str) -> Value:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates: bytes that were not UTF-8
        return Value("escaped", None, None, value.encode("unicode_escape").decode("ascii"))
    return Value("str", None, None, value)


def _scalar(value: Any) -> Value | None:
    """Subclasses of Python's scalars, numpy scalars, 0-dimensional arrays and tensors."""
    if isinstance(value, str):
        return _str(str.__str__(value))
    if isinstance(value, int):
        return _int(int(value))
    if isinstance(value, float):
        return Value("float", float(value))
    item = _item(value)
    return None if item is value else encode(item)


def _item(value: Any) -> Any:
    """The Python number in a numpy scalar or in a 0-dimensional array or tensor; the value itself if it is none."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        if value.ndim or not (isinstance(value, numpy.generic) or type(value) is numpy.ndarray):
            return value
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:  # a longdouble would lose digits
            return value.item()
        if isinstance(value, numpy.str_ | numpy.bytes_):
            return value.item()
    elif torch is not None and isinstance(value, torch.Tensor) and not value.dim() and not value.is_complex():
        return value.item()
    return value


class _NotJson(Exception):
    pass


def _json(value: Any) -> Value | None:
    if not isinstance(value, dict | list | tuple):
        return None
    try:
        plain = _plain(value)
    except (_NotJson, RecursionError):
        return None
    text = json.dumps(plain)
    if "\\ud" in text and json.loads(text) != plain:  # two lone surrogates would come back as one character
        return None
    return Value("json", None, None, text)


def _plain(value: Any) -> Any:
    """A deep copy made of what JSON can say, NaN and infinities included."""
    if value is None or type(value) in (bool, int, float, str):
        if type(value) is int and abs(value) >> 10_000:  # beyond the length of decimal text that Python reads back
            raise _NotJson
        return value
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise _NotJson
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    item = _item(value)
    if type(item) not in (bool, int, float, str):
        raise _NotJson
    return item


def _special(value: Any) -> Value | None:
    """Values of libraries that are already imported; none is imported to look."""
    if isinstance(value, bytes | bytearray | memoryview):
        return Value("bytes", blob=bytes(value))
    for module, name, encoder in _LIBRARIES:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            found = encoder(value)
            if found is not None:
                return found
    return None


def _array(value: Any) -> Value | None:
    import numpy

    # subclasses (masked arrays) and foreign dtypes (ml_dtypes) would lose what numpy's own format does not know
    if type(value) not in (numpy.ndarray, numpy.memmap) or value.dtype.hasobject or value.dtype.isbuiltin == 2:
        return None
    return Value("array", blob=_npy(value))


def _tensor(value: Any) -> Value | None:
    torch = sys.modules["torch"]
    tensor = value.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    dtype = str(value.dtype)
    if tensor.dtype is torch.bfloat16:
        array = tensor.contiguous().view(torch.int16).numpy()
    elif tensor.dtype.itemsize == 1 and tensor.is_floating_point():
        array = tensor.to(torch.float32).numpy()
    elif tensor.dtype is torch.complex32:
        array = tensor.to(torch.complex64).numpy()
    else:
        array = tensor.numpy()
    return Value("tensor", blob=dtype.encode() + b"\n" + _npy(array))


def _dataframe(value: Any) -> Value:
    pandas = sys.modules["pandas"]
    plain = all(type(name) is str for name in value.columns) and value.columns.is_unique and not value.attrs
    exact = all(getattr(kind, "kind", "O") in "biufM" or isinstance(kind, pandas.StringDtype) for kind in value.dtypes)
    if plain and exact and isinstance(value.index, pandas.RangeIndex):
        return Value("dataframe", blob=value.to_parquet())
    return Value("dataframe", blob=_dumps(value))


def _figure(value: Any) -> Value:
    file = io.BytesIO()
    value.savefig(file, format="png")
    return Value("image", blob=file.getvalue())


def _picture(value: Any) -> Value | None:
    if value.mode not in ("1", "L", "LA", "I", "P", "RGB", "RGBA", "I;16"):  # what PNG can hold
        return None
    file = io.BytesIO()
    value.save(file, format="PNG")
    return Value("image", blob=file.getvalue())


_LIBRARIES: tuple[tuple[str, str, Callable[[Any], Value | None]], ...] = (
    ("numpy", "ndarray", _array),
    ("torch", "Tensor", _tensor),
    ("pandas", "DataFrame", _dataframe),
    ("matplotlib.figure", "Figure", _figure),
    ("PIL.Image", "Image", _picture),
)


def _pickled(value: object) -> Value:
    return Value("pickle", blob=_dumps(value))


def _dumps(value: object) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value)
    return data


def _npy(array: Any) -> bytes:
    import numpy

    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=False)
    return file.getvalue()


_warned: set[type] = set()


def _repr(value: object, error: Exception) -> Value:
    kind = type(value)
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(
            f"Values of type {kind.__module__}.{kind.__qualname__} cannot be pickled ({text_of(error, str)}), so "
            "flor_ray keeps their repr as text. Log a number, a string or an array instead to keep the value.",
            FlorWarning,
            stacklevel=3,
        )
    return Value("repr", None, None, text_of(value))


def text_of(value: object, say: Callable[[object], str] = repr) -> str:
    """A text for any object, which can be encoded. Never raises."""
    try:
        text = say(value)
    except Exception:  # noqa: BLE001 - as above
        text = hex(value) if type(value) is int else object.__repr__(value)  # decimal text has a limit
    return printable(text)


# --- decode ---------------------------------------------------------------------------------------------------------


def decode(value: Value, get: Callable[[str], bytes], pickles: bool = False) -> Any:
    """The object that `encode` was given; `get` reads a blob from S by its key. Unless `pickles`, nothing is unpickled,
    and a NotLoaded stands for what only a pickle holds.

    Raises:
        StoreError: the value's type is unknown, or its blob does not hold what it should.
    """
    if value.type in BLOB_TYPES:
        blob = value.blob if value.blob is not None else get(value.text or "")
        return decode_blob(value.type, blob, pickles)
    decoder = _DECODERS.get(value.type)
    if decoder is None:
        raise StoreError(f"A value has the unknown type {value.type!r}; a newer flor_ray wrote it. Upgrade flor_ray.")
    try:
        return decoder(value)
    except (ValueError, TypeError) as error:
        seen = f"{type(error).__name__}: {error}"
        raise StoreError(f"A logged value of type {value.type} is damaged ({seen}).") from error


def decode_blob(kind: str, blob: bytes, pickles: bool = False) -> Any:
    """A value of one of BLOB_TYPES from its bytes; see `decode`.

    Raises:
        StoreError: it cannot be read here.
    """
    is_pickle = kind == "pickle" or (kind == "dataframe" and not blob.startswith(_PARQUET))
    if is_pickle and not pickles:
        return not_loaded.pickled(blob)
    try:
        return stored_names.loads(blob) if is_pickle else _BLOB_DECODERS[kind](blob)
    except Exception as error:
        raise StoreError(
            f"A logged value of type {kind} cannot be read back ({type(error).__name__}: {error}). If it needs a "
            "module of your project or another package, make that importable here."
        ) from error


def _load_npy(blob: bytes) -> Any:
    import numpy

    from flor_ray.store import bounds  # imports pyarrow, which what is only recorded does not need here

    bounds.expect_npy(blob)
    return numpy.load(io.BytesIO(blob), allow_pickle=False)


def _load_tensor(blob: bytes) -> Any:
    import numpy

    dtype, _, data = blob.partition(b"\n")
    array = _load_npy(data)
    if dtype == b"torch.bfloat16":  # the upper half of a float32
        return (array.view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
    return array


def _load_dataframe(blob: bytes) -> Any:
    import pandas

    from flor_ray.store import bounds

    bounds.parquet(blob)
    return pandas.read_parquet(io.BytesIO(blob))


_DECODERS: Mapping[str, Callable[[Value], Any]] = {
    "none": lambda value: None,
    "bool": lambda value: bool(value.integer),
    "int": lambda value: value.integer,
    "bigint": lambda value: int(value.text or "", 16),
    "float": lambda value: value.number,
    "str": lambda value: value.text,
    "escaped": lambda value: (value.text or "").encode("ascii").decode("unicode_escape"),
    "json": lambda value: checks.parsed(value.text or ""),
    "repr": lambda value: value.text,
}
_BLOB_DECODERS: Mapping[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "array": _load_npy,
    "tensor": _load_tensor,
    "dataframe": _load_dataframe,
    "image": bytes,
}
