"""Copies of tensors and buffers, how they are written, and what their parts look like in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.errors import StoreError
from flor_ray.state import snapshots
from flor_ray.state.snapshots import Arenas, ArenaSlot, Snapshot, SnapshotWriter, gather
from flor_ray.store import codecs, manifests
from flor_ray.store.files import Files
from flor_ray.store.manifests import Manifest, Part
from flor_ray.store.objects import Objects

TENSORS = [
    torch.arange(10.0),
    torch.tensor(3),
    torch.zeros(0, 4),
    torch.randn(3, 4).t(),
    torch.randn(4, 6)[:, ::2],
    torch.tensor([True, False, True]),
    torch.randn(5, dtype=torch.complex64).conj().resolve_conj(),
    torch.randn(7).bfloat16(),
    torch.arange(9, dtype=torch.int16)[1:],
]


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def snapshot(slots: list[ArenaSlot], skeleton: bytes = b"pickle", buffers: tuple[int, ...] = ()) -> Snapshot:
    nothing: frozenset[str] = frozenset()
    return Snapshot(skeleton, slots, buffers, nothing, nothing, nothing, 0.0, False)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(Files(str(tmp_path)))


def test_tensors_of_every_kind_are_copied_bit_for_bit() -> None:
    slots = gather(TENSORS, Arenas(), [])
    assert [bytes(slot.data) for slot in slots] == [bytes_of(tensor) for tensor in TENSORS]


def test_buffers_are_copied_beside_tensors() -> None:
    array = np.arange(100, dtype=np.int32)
    slots = gather([memoryview(array.data).cast("B"), torch.ones(3)], Arenas(), [])
    array[:] = 0
    assert bytes(slots[0].data) == np.arange(100, dtype=np.int32).tobytes()
    assert bytes(slots[1].data) == bytes_of(torch.ones(3))


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        (lambda t: None, True),
        (lambda t: t.add_(0), False),  # counted as a change, so not looked at
        (lambda t: t.data.sub_(1), False),  # not counted
        (lambda t: t.data[5:6].fill_(-0.0), False),  # equal as numbers, other bits
    ],
    ids=["nothing", "counted", "through .data", "negative zero"],
)
def test_a_second_copy_is_shared_only_if_no_bit_has_changed(
    change: Callable[[torch.Tensor], None], shared: bool
) -> None:
    tensor = torch.zeros(1000)
    tensor[0] = float("nan")
    first = gather([tensor], Arenas(), [])
    change(tensor)
    second = gather([tensor], Arenas(), first)
    assert (second[0] is first[0]) is shared
    assert bytes(second[0].data) == bytes_of(tensor)


def test_another_tensor_in_the_same_memory_is_not_taken_for_the_first() -> None:
    tensor = torch.arange(8.0)
    first = gather([tensor], Arenas(), [])
    [second] = gather([tensor[:4]], Arenas(), first)
    assert bytes(second.data) == bytes_of(tensor[:4])


def test_memory_is_used_again_once_nothing_refers_to_it() -> None:
    arenas = Arenas()
    slots = gather([torch.zeros(1000)], arenas, [])
    place = slots[0].arena.memory.ctypes.data
    held = gather([torch.ones(1000)], arenas, [])
    assert held[0].arena.memory.ctypes.data != place
    slots.clear()
    again = gather([torch.full((1000,), 2.0)], arenas, [])
    assert again[0].arena.memory.ctypes.data == place
    assert bytes(held[0].data) == bytes_of(torch.ones(1000))


def test_copies_made_in_inference_mode_do_no_harm_to_later_ones() -> None:
    arenas = Arenas()
    with torch.inference_mode():
        inside = torch.ones(100) * 2
        [slot] = gather([inside], arenas, [])
        assert bytes(slot.data) == bytes_of(inside)
        del slot
    [slot] = gather([torch.ones(100)], arenas, [])
    assert bytes(slot.data) == bytes_of(torch.ones(100))


# writing and reading


def test_what_is_written_is_read_back(objects: Objects) -> None:
    large = torch.randn(100_000)
    sources: list[Any] = [*TENSORS, large, memoryview(b"x" * 2000)]
    key = SnapshotWriter(objects).write(snapshot(gather(sources, Arenas(), []), b"pickle", (len(sources) - 1,)))
    manifest, parts = snapshots.read(objects, key)
    assert (manifest.skeleton, manifest.buffers) == (b"pickle", (10,))
    expected = [bytes_of(s) if isinstance(s, torch.Tensor) else bytes(s) for s in sources]
    assert [bytes(part) for part in parts] == expected


def test_small_parts_share_the_manifests_object_and_large_ones_are_shared_with_others(objects: Objects) -> None:
    large, small = torch.randn(100_000), torch.randn(100)
    one = SnapshotWriter(objects).write(snapshot(gather([large, small], Arenas(), [])))
    assert len(objects.infos()) == 2
    other = SnapshotWriter(objects).write(snapshot(gather([small * 2, large], Arenas(), []), b"another run"))
    assert len(objects.infos()) == 3
    references = [manifests.references(objects.get(key)) for key in (one, other)]
    assert references[0] == references[1] == objects.infos().keys() - {one, other}


def test_frozen_layers_cost_nothing_twice_also_if_they_are_small(objects: Objects) -> None:
    frozen, trained, writer = [torch.randn(1000) for _ in range(20)], torch.randn(100), SnapshotWriter(objects)
    keys = []
    for epoch in range(3):
        keys.append(writer.write(snapshot(gather([*frozen, trained + epoch], Arenas(), []), str(epoch).encode())))
    sizes = [objects.infos()[key].bytes for key in keys]
    assert sizes[0] > 80_000
    assert max(sizes[1:]) < 3_000
    assert manifests.references(objects.get(keys[2])) == {keys[0]}
    _, parts = snapshots.read(objects, keys[2])
    assert bytes(parts[5]) == bytes_of(frozen[5])
    assert bytes(parts[20]) == bytes_of(trained + 2)


def test_a_snapshot_in_which_nothing_changed_is_no_object_at_all(objects: Objects) -> None:
    writer, sources, arenas = SnapshotWriter(objects), [torch.randn(50_000), torch.randn(10)], Arenas()
    first = gather(sources, arenas, [])
    key = writer.write(snapshot(first))
    count = len(objects.infos())
    assert writer.write(snapshot(gather(sources, arenas, first))) == key
    assert writer.write(snapshot(gather(sources, arenas, []))) == key
    assert len(objects.infos()) == count


def test_a_write_that_failed_can_be_done_again(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, taken = SnapshotWriter(objects), snapshot(gather([torch.randn(100_000), torch.randn(9)], Arenas(), []))
    put = Objects.put
    monkeypatch.setattr(Objects, "put", lambda self, data: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError, match="full"):
        writer.write(taken)
    monkeypatch.setattr(Objects, "put", put)
    _, parts = snapshots.read(objects, writer.write(taken))
    assert [len(part) for part in parts] == [400_000, 36]


# codecs and manifests


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_compression_loses_nothing(itemsize: int, data: bytes) -> None:
    codec = f"zstd{itemsize}"
    assert bytes(codecs.decode(codecs.encode(memoryview(data), codec), codec, len(data))) == data


def test_bytes_are_compressed_where_a_sample_shrinks() -> None:
    noise, zeros = memoryview(np.random.default_rng(0).bytes(300_000)), memoryview(bytes(300_000))
    weights = memoryview(torch.randn(100_000).numpy().tobytes())
    assert [codecs.choose(data, 4, None) for data in (noise, zeros, weights)] == ["", "zstd4", ""]
    assert [codecs.choose(data, 4, True) for data in (noise, zeros, weights)] == ["", "zstd4", "zstd4"]
    assert [codecs.choose(data, 4, False) for data in (noise, zeros, weights)] == ["", "", ""]


def test_a_codec_of_the_future_and_damaged_bytes_are_refused() -> None:
    with pytest.raises(StoreError, match="Upgrade flor_ray"):
        codecs.decode(b"abc", "lzma9", 3)
    with pytest.raises(StoreError, match="cannot be decompressed"):
        codecs.decode(b"abc", "zstd4", 3)


def test_a_manifest_names_the_objects_that_it_needs_and_places_its_own_parts() -> None:
    manifest = Manifest(b"pickle", (Part("", 0, 3, "", 3), Part("ab", 5, 7, "zstd4", 9)), (1,))
    data, start = manifests.to_bytes(manifest, b"xyz")
    found = manifests.from_bytes(data, "me")
    assert found == Manifest(b"pickle", (Part("me", start, 3, "", 3), Part("ab", 5, 7, "zstd4", 9)), (1,))
    assert data[start : start + 3] == b"xyz"
    assert manifests.references(data) == {"ab"}


@pytest.mark.parametrize(
    "data", [b"", b"flor2 ", b"flor2 9 9\nxx", b'{"tensors": []}\nabc', b"flor2 a b\n", b"\x00" * 99]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="is not the manifest of a checkpoint"):
        manifests.references(data)
