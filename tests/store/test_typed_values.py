"""Values survive the way into the store and back, with their types."""

from __future__ import annotations

import enum
import math
import random
import sys
import types
import warnings
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.errors import FlorWarning, ObjectMissing, StoreError
from flor_ray.records import Value
from flor_ray.store import typed_values
from flor_ray.store.typed_values import decode, encode


class Pair(NamedTuple):
    x: int
    y: int


text = st.text(st.characters(exclude_categories=())) | st.text(
    st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
json_like = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=8)


def no_blob(key: str) -> bytes:
    raise AssertionError(f"nothing should ask for {key}")


def round_trip(value: object) -> Any:
    """Through what the store keeps: a blob goes to S and its key into `text`."""
    stored = encode(value)
    if stored.type in typed_values.BLOB_TYPES:
        assert stored.blob is not None
        return decode(Value(stored.type, text="key"), {"key": stored.blob}.__getitem__, pickles=True)
    assert stored.blob is None
    return decode(stored, no_blob)


def same(left: Any, right: Any) -> bool:
    """Equal, of the same types, NaN equal to NaN and -0.0 different from 0.0."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    return type(left) is type(right) and bool(left == right)


@given(json_like)
@settings(max_examples=300, deadline=None)
def test_scalars_strings_and_json_survive(value: object) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, Value("none")),
        (True, Value("bool", integer=1)),
        (2**63 - 1, Value("int", integer=2**63 - 1)),
        (-(2**63), Value("int", integer=-(2**63))),
        (2**63, Value("bigint", text="0x8000000000000000")),
        (0.5, Value("float", number=0.5)),
        (math.inf, Value("float", number=math.inf)),
        ("x", Value("str", text="x")),
        ("\udcff", Value("escaped", text="\\udcff")),
        ((1, "a", None), Value("json", text='[1, "a", null]')),
        ({"a": math.nan}, Value("json", text='{"a": NaN}')),
        ({"a": np.float32(0.5), "b": torch.tensor(2)}, Value("json", text='{"a": 0.5, "b": 2}')),
        (OrderedDict(a=1), Value("json", text='{"a": 1}')),
        (Pair(1, 2), Value("json", text="[1, 2]")),
        (np.float32(0.1), Value("float", number=float(np.float32(0.1)))),
        (np.float64(0.1), Value("float", number=0.1)),
        (np.float16(0.5), Value("float", number=0.5)),
        (np.int8(-3), Value("int", integer=-3)),
        (np.uint64(2**64 - 1), Value("bigint", text="0xffffffffffffffff")),
        (np.bool_(True), Value("bool", integer=1)),
        (np.str_("x"), Value("str", text="x")),
        (np.array(1.5), Value("float", number=1.5)),
        (torch.tensor(1.5, requires_grad=True), Value("float", number=1.5)),
        (torch.tensor(1.5, dtype=torch.bfloat16), Value("float", number=1.5)),
        (torch.tensor(True), Value("bool", integer=1)),
        (torch.tensor(7), Value("int", integer=7)),
        (enum.IntEnum("Colour", "RED").RED, Value("int", integer=1)),  # type: ignore[attr-defined]
        (enum.StrEnum("Mode", "EVAL").EVAL, Value("str", text="eval")),  # type: ignore[attr-defined]
    ],
)
def test_numbers_and_text_are_stored_as_columns(value: object, stored: Value) -> None:
    assert encode(value) == stored


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.random.default_rng(0).random((3, 2))),
        np.zeros((0, 4), np.float32),
        np.array(["a", "b"]),
        np.array(["2026-11-22"], "datetime64[ns]"),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.array([1j]),
    ],
)
def test_arrays_survive(array: np.ndarray[Any, Any]) -> None:
    assert encode(array).type == "array"
    back = round_trip(array)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_arrays_that_numpys_format_would_flatten_are_pickled() -> None:
    mixed = np.array([1, "a", None], object)
    masked = np.ma.array([1, 2], mask=[False, True])
    assert [encode(mixed).type, encode(masked).type] == ["pickle", "pickle"]
    assert round_trip(mixed).tolist() == [1, "a", None]
    assert round_trip(masked).mask.tolist() == [False, True]


@pytest.mark.parametrize(
    ("tensor", "array"),
    [
        (torch.tensor([[1.5, -2.0]]), np.array([[1.5, -2.0]], np.float32)),
        (torch.tensor([1.5, math.nan, 3e38], dtype=torch.bfloat16), np.array([1.5, math.nan, 2.9908e38], np.float32)),
        (torch.tensor([1.5, -0.25]).to(torch.float8_e4m3fn), np.array([1.5, -0.25], np.float32)),
        (torch.tensor([1, 2], dtype=torch.uint8), np.array([1, 2], np.uint8)),
        (torch.ones(2, 3, requires_grad=True).t(), np.ones((3, 2), np.float32)),
        (torch.nn.Parameter(torch.ones(2)), np.ones(2, np.float32)),
        (torch.eye(2).to_sparse(), np.eye(2, dtype=np.float32)),
        (torch.tensor([1 + 2j]).conj(), np.array([1 - 2j], np.complex64)),
    ],
)
def test_tensors_come_back_as_arrays(tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> None:
    stored = encode(tensor)
    assert stored.type == "tensor"
    assert (stored.blob or b"").startswith(str(tensor.dtype).encode() + b"\n")
    back = round_trip(tensor)
    assert back.dtype == array.dtype
    np.testing.assert_allclose(back, array, rtol=1e-2 if tensor.dtype is torch.bfloat16 else 0)


@given(st.binary(min_size=2, max_size=64))
@settings(max_examples=50, deadline=None)
def test_every_bfloat16_survives_bit_for_bit(data: bytes) -> None:
    tensor = torch.frombuffer(bytearray(data[: len(data) // 2 * 2]), dtype=torch.bfloat16).clone()
    tensor = torch.cat([tensor, tensor])  # never 0-dimensional
    expected = tensor.to(torch.float32).numpy()
    np.testing.assert_array_equal(round_trip(tensor), expected)


@pytest.mark.parametrize(
    ("frame", "magic"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [0.5, math.nan], "c": ["x", "y"]}), b"PAR1"),
        (pd.DataFrame({"when": pd.to_datetime(["2026-11-22"], utc=True)}), b""),
        (pd.DataFrame({1: [1], "b": [{"x": 1}]}, index=["row"]), b""),
        (pd.DataFrame({"c": pd.Categorical(["a"])}), b""),
        (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=["x", "y"])), b""),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), b""),
        (pd.DataFrame(), b""),
    ],
)
def test_dataframes_survive(frame: pd.DataFrame, magic: bytes) -> None:
    stored = encode(frame)
    assert stored.type == "dataframe"
    assert (stored.blob or b"").startswith(magic)
    pd.testing.assert_frame_equal(round_trip(frame), frame)


@pytest.mark.parametrize("value", [b"", b"\x00\xff", bytearray(b"x"), memoryview(b"xyz")[::2]])
def test_bytes_survive(value: Any) -> None:
    assert encode(value).type == "bytes"
    assert round_trip(value) == bytes(value)


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": {2: 3}}, 1j, {1, 2}, [b"x"], [{"k": np.longdouble(1) / 3}], [1 << 50_000]]
)
def test_what_json_would_change_is_kept_exactly(value: object) -> None:
    assert round_trip(value) == value


def test_other_objects_are_pickled_also_when_their_class_is_local() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    assert encode(Local(3)).type == "pickle"
    assert round_trip(Local(3)).x == 3
    nested = [np.arange(3)]
    assert encode(nested).type == "pickle"
    assert round_trip(nested)[0].tolist() == [0, 1, 2]
    loop: list[object] = []
    loop.append(loop)
    back = round_trip(loop)
    assert back[0] is back


def test_images_become_png(monkeypatch: pytest.MonkeyPatch) -> None:
    class Figure:
        def savefig(self, file: Any, format: str) -> None:
            file.write(f"figure as {format}".encode())

    class Image:
        def __init__(self, mode: str) -> None:
            self.mode = mode

        def save(self, file: Any, format: str) -> None:
            file.write(f"{self.mode} image as {format}".encode())

        def __reduce__(self) -> tuple[Any, ...]:
            return str, (f"pickled {self.mode}",)

    for module, name, kind in (("matplotlib.figure", "Figure", Figure), ("PIL.Image", "Image", Image)):
        fake = types.ModuleType(module)
        setattr(fake, name, kind)
        monkeypatch.setitem(sys.modules, module, fake)
    assert [encode(Figure()), encode(Image("RGB"))] == [
        Value("image", blob=b"figure as png"),
        Value("image", blob=b"RGB image as PNG"),
    ]
    assert round_trip(Figure()) == b"figure as png"
    assert round_trip(Image("CMYK")) == "pickled CMYK"  # a mode that PNG does not have


def test_a_value_is_copied_when_it_is_logged() -> None:
    values: list[Any] = [
        [1],
        {"a": [1]},
        np.ones(2),
        torch.ones(2),
        bytearray(b"a"),
        pd.DataFrame({"a": [1]}),
        {1: [1]},
    ]
    stored = [encode(value) for value in values]
    values[0].append(2)
    values[1]["a"].append(2)
    values[2][:] = 9
    values[3].fill_(9)
    values[4][0] = 9
    values[5].loc[0, "a"] = 9
    values[6][1].append(2)
    back = [decode(value, no_blob) for value in stored]
    back[5] = back[5].to_dict("list")
    back[2], back[3] = back[2].tolist(), back[3].tolist()
    assert back == [[1], {"a": [1]}, [1.0, 1.0], [1.0, 1.0], b"a", {"a": [1]}, {1: [1]}]


def test_what_cannot_be_pickled_is_kept_as_text_with_one_warning_per_type() -> None:
    class Stream:
        def __reduce__(self) -> tuple[Any, ...]:
            raise TypeError("cannot pickle a stream")

        def __repr__(self) -> str:
            return "<stream \udc80>"

    with pytest.warns(FlorWarning, match=r"Stream cannot be pickled \(cannot pickle a stream\)"):
        stored = encode(Stream())
    assert stored == Value("repr", text="<stream \\udc80>")
    assert round_trip(Stream()) == "<stream \\udc80>"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(Stream())


def test_an_object_that_raises_at_every_touch_does_not_stop_training() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("no")

        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.warns(FlorWarning):
        stored = encode(Hostile())
    assert stored.type == "repr"
    assert "Hostile object at" in (stored.text or "")


def test_encoding_draws_no_random_numbers() -> None:
    values = (1.5, torch.ones(3), {"a": 1}, np.ones(3), pd.DataFrame({"a": [1]}), object())
    before = (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())
    for value in values:
        encode(value)
    assert (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()) == before


def test_a_blob_that_is_missing_or_broken_is_a_store_error() -> None:
    def missing(key: str) -> bytes:
        raise ObjectMissing(key, "store")

    with pytest.raises(ObjectMissing, match="abc"):
        decode(Value("array", text="abc"), missing)
    with pytest.raises(StoreError, match="of type array cannot be read back"):
        decode(Value("array", text="abc"), lambda key: b"garbage")
    with pytest.raises(StoreError, match="make that importable here"):
        decode(Value("pickle", text="abc"), lambda key: b"cno_such_module\nThing\n.", pickles=True)


def test_a_type_of_the_future_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"'hologram'.*Upgrade flor_ray"):
        decode(Value("hologram"), no_blob)


@pytest.mark.parametrize("found", [None, "1", 0, -1, True, 1.5])
def test_a_format_that_is_no_number_is_refused(found: object) -> None:
    with pytest.raises(StoreError, match=r"format\.json does not say which format"):
        typed_values.check_format(found, "store/format.json")


def test_a_newer_format_asks_for_an_upgrade() -> None:
    typed_values.check_format(typed_values.FORMAT_VERSION, "store/format.json")
    with pytest.raises(
        StoreError, match=rf"store/format\.json .* format {typed_values.FORMAT_VERSION + 1}.*Upgrade flor_ray"
    ):
        typed_values.check_format(typed_values.FORMAT_VERSION + 1, "store/format.json")
