"""Pickles in a store are read, whatever has become of the modules that they name."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import pytest
import torch

import flor_ray as flor
from flor_ray import stored_names
from flor_ray.errors import FlorWarning, StoreError
from flor_ray.state import random_states
from flor_ray.state.pickling import Findable, LoadedState, StatePickler, references_to, resolver
from flor_ray.state.structure import parts_of
from flor_ray.store import typed_values
from tests.pickles import names_in

# The modules of these names are written in two parts: what stores hold does not change when modules are renamed.
REFER, TORCH_GENERATOR = ("pickling", "refer"), ("rng", "torch_generator")  # before they had a home of their own


def naming(inside: str, name: str, *arguments: object) -> bytes:
    """A pickle that names a function or class of flor_ray, in whatever module, and calls it if there are arguments."""
    words = (b"\x8c" + bytes([len(word)]) + word.encode() for word in (f"flor_ray.{inside}", name))
    called = pickle.dumps(arguments, protocol=2)[2:-1] + b"R" if arguments else b""
    return b"\x80\x05" + b"".join(words) + b"\x93" + called + b"."


def test_a_checkpoint_names_nothing_that_may_move_and_is_read_back() -> None:
    net, generator = torch.nn.Linear(2, 2), torch.Generator().manual_seed(3)
    references = references_to({"net": net}, {}, {"net": parts_of(net)})
    pickler = StatePickler(Findable(references), {}, with_gradients=False)
    pickler.dump({"net": net, "weight": net.weight, "generator": generator, "tensor": torch.ones(2)})
    skeleton = pickler.close({})
    assert names_in(skeleton) == {"flor_ray.stored_names.refer", "flor_ray.stored_names.torch_generator"}
    body = LoadedState(skeleton, ()).body(resolver({"net": net}, {}, {"net": parts_of(net)}))
    assert body["net"] is net
    assert body["weight"] is net.weight
    assert random_states.state_of(body["generator"]) == random_states.state_of(generator)
    assert body["tensor"].tolist() == [1.0, 1.0]


def test_a_checkpoint_that_names_their_old_homes_is_read() -> None:
    references: list[tuple[Any, ...]] = []
    LoadedState(naming(*REFER, "object", "net"), ()).body(references.append)
    assert references == [("object", "net")]
    state = random_states.state_of(torch.Generator().manual_seed(3))
    generator: Any = LoadedState(naming(*TORCH_GENERATOR, "cpu", state), ()).body(references.append)
    assert random_states.state_of(generator) == state


def test_a_checkpoint_is_no_ordinary_pickle() -> None:
    with pytest.raises(
        StoreError, match=r"can only be read as a part of its checkpoint: it refers to \('object', 'net'\)"
    ):
        stored_names.loads(naming(*REFER, "object", "net"))


@pytest.mark.parametrize("name", flor.__all__)
def test_a_public_name_is_found_wherever_it_was_when_it_was_pickled(name: str) -> None:
    public = getattr(flor, name)
    assert stored_names.loads(naming("a_room.that_is_gone", name)) is public
    assert stored_names.loads(pickle.dumps(public)) is public


def test_so_is_what_is_inside_of_it() -> None:
    assert stored_names.loads(naming("gone", "MTK.checkpoints")) is flor.MTK.checkpoints


@pytest.mark.parametrize("kind", ["pickle", "dataframe"])
def test_logged_values_that_were_pickled_are_read_so(kind: str) -> None:
    asked = typed_values.decode_blob(kind, naming("gone", "Query", ["grad_norm"], "epoch >= 2"), pickles=True)
    assert asked == flor.Query(["grad_norm"], "epoch >= 2")


def test_warnings_and_errors_keep_their_names() -> None:
    data = pickle.dumps(FlorWarning("so"))
    assert names_in(data) == {"flor_ray.errors.FlorWarning"}
    assert isinstance(stored_names.loads(data), FlorWarning)


def test_what_this_release_does_not_have_is_named() -> None:
    for inside, name in (("gone", "thing"), ("errors", "Gone")):
        with pytest.raises(StoreError, match=rf"names flor_ray\.{inside}\.{name}, which .* Upgrade flor_ray"):
            stored_names.loads(naming(inside, name))
    with pytest.raises(StoreError, match=r"of type pickle cannot be read back .*names flor_ray\.gone\.thing"):
        typed_values.decode_blob("pickle", naming("gone", "thing"), pickles=True)


def test_names_of_others_are_looked_up_as_ever() -> None:
    assert stored_names.loads(pickle.dumps(Fraction(1, 3))) == Fraction(1, 3)
    missing = naming("", "thing").replace(b"flor_ray.", b"flor_rays")
    with pytest.raises(ModuleNotFoundError, match="flor_rays"):
        stored_names.loads(missing)
