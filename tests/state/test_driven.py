"""The state of a loop that a library runs: plain attributes of its objects, kept and put back."""

from __future__ import annotations

import collections
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from flor_ray.errors import StoreError
from flor_ray.state.driven import Machinery, data_parts, generators_in, is_plain


def test_plain_are_numbers_texts_tensors_and_containers_of_them() -> None:
    weight = torch.nn.Linear(1, 1).weight
    plain: list[Any] = [1, "a", None, 1.5, torch.ones(2), {"a": [1, (2,)]}, collections.deque([1]), torch.float32]
    others: list[Any] = [object(), weight, weight * 2, [object()], {"a": print}, torch.nn.Linear(1, 1), iter([])]
    assert [is_plain(value) for value in plain] == [True] * len(plain)
    assert [is_plain(value) for value in others] == [False] * len(others)


def test_attributes_are_put_back_where_they_were_and_new_ones_go() -> None:
    history: list[int] = [1]
    part = SimpleNamespace(step=1, history=history, made=object(), lost=None)
    machinery = Machinery(lambda: {"part": part}, dict)
    saved = machinery.state_dict()
    kept = {"step": 1, "history": [1], "lost": None}
    assert saved["parts"] == {"part": (kept, ["made"])}
    saved = {"at_entry": False, "parts": {"part": (kept | {"history": [1]}, ["made"])}}
    history.append(2)
    part.step, part.added, part.lost = 5, 7, object()
    machinery.load_state_dict(saved)
    assert (part.step, history, part.history is history, part.lost) == (1, [1], True, None)
    assert not hasattr(part, "added")
    assert part.made is not None


def test_only_the_librarys_own_names_are_kept_of_a_part() -> None:
    part = SimpleNamespace(step=1, users=2)
    machinery = Machinery(lambda: {"part": part}, dict, lambda each: frozenset({"step"}))
    assert machinery.state_dict()["parts"] == {"part": ({"step": 1}, ["users"])}


def test_a_data_set_is_kept_in_one_place() -> None:
    data = [{"x": torch.ones(2)}]
    part = SimpleNamespace(step=1, train_dataset=data, eval_dataset=None, other=None)
    apart = {"train_dataset": data, "eval_dataset": None}
    machinery = Machinery(lambda: {"part": part}, dict, apart=apart)
    saved = machinery.state_dict()
    assert saved["parts"] == {"part": ({"step": 1, "eval_dataset": None, "other": None}, ["train_dataset"])}
    machinery.load_state_dict(saved)
    assert part.train_dataset is data


def test_what_was_replaced_is_refused_when_it_is_kept_and_what_lacks_when_it_is_put_back() -> None:
    held = {"the model": object()}
    machinery = Machinery(dict, lambda: dict(held))
    machinery.state_dict()
    held["the model"] = object()
    with pytest.raises(StoreError, match="the model is not the object that it was when the training began"):
        machinery.state_dict()
    with pytest.raises(StoreError, match="the training has no callback here"):
        machinery.load_state_dict({"at_entry": False, "parts": {"callback": ({}, [])}})


def test_the_entry_of_a_loop_whose_first_batches_are_drawn_before_it_can_be_put_back_only_there() -> None:
    machinery = Machinery(dict, dict, enters_once=True)
    entry = machinery.state_dict()
    machinery.load_state_dict(entry)
    machinery.is_at_entry = False
    with pytest.raises(StoreError, match="the batches of the first epoch have been drawn in this process"):
        machinery.load_state_dict(entry)


class Three(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 3


def test_a_loader_consists_of_its_samplers_but_not_of_its_data() -> None:
    generator = torch.Generator()
    loader: Any = torch.utils.data.DataLoader(Three(), batch_size=2, shuffle=True, generator=generator)
    parts = data_parts(loader, "loader")
    assert {name: type(part).__name__ for name, part in parts.items()} == {
        "loader": "DataLoader",
        "loader.batch_sampler.sampler": "RandomSampler",
        "loader.batch_sampler": "BatchSampler",
    }
    assert list(generators_in(parts).values()) == [generator]
