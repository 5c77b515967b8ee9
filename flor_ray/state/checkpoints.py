"""Checkpoints: what is in one, how it is taken from a running script, and how it is put back.

    objects   what the user listed, and everything else with state_dict, and random generators, that the loop can reach
    places    variables of the loop's frame (flor_ray.variables), and what its code reaches besides (`reachable`)
    modes     of the process, as far as they have changed since the loop began (flor_ray.state.modes)
    rng       python, numpy, torch CPU and every CUDA device

A checkpoint is a pickle in which each tensor is a reference to its bytes, and so is each object that has its own entry
(flor_ray.state.pickling). The bytes are copied here and hashed and written elsewhere (flor_ray.state.snapshots).

`enter` is called where a loop begins, both in recording and in replaying: what there is then, it finds again by name.
torch and numpy are looked up in `sys.modules`: a script that does not use them never pays for their import.
"""

from __future__ import annotations

import itertools
import pickle
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flor_ray.errors import ReplayError, StoreError
from flor_ray.records import GRADIENTS
from flor_ray.state import expected_names, frames, modes, random_states, stateful
from flor_ray.state.comparing import StateDifference, first_difference
from flor_ray.state.fingerprint import fingerprint, unchanged
from flor_ray.state.identities import identities
from flor_ray.state.memory import Known, is_plain_array, span_of
from flor_ray.state.merge import Merger
from flor_ray.state.pickling import (
    Late,
    LoadedState,
    Reference,
    StatePickler,
    parts_of,
    pickles,
    references_to,
    resolver,
)
from flor_ray.state.reachable import ReachedPlace, reach
from flor_ray.state.selection import ATOMS, CODE, LISTED, Chooser, Holder, LoopEntry, LoopFrame, is_atom_or_code
from flor_ray.state.snapshots import Arenas, ArenaSlot, Snapshot, gather

_MODE_BYTES = 1 << 20  # of one mode of the process
__all__ = ["Capturer", "LoadedState"]


@dataclass(slots=True)
class Capturer:
    """Takes and restores the state of one script. `targets` are the objects that the user listed, by name."""

    chooser: Chooser
    recording: bool = True
    targets: dict[str, Any] = field(default_factory=dict)
    arenas: Arenas = field(default_factory=Arenas)
    _entries: dict[str, LoopEntry] = field(default_factory=dict)  # by slot
    _epochs_copies: list[ArenaSlot] = field(default_factory=list)  # of the first point of an epoch, for the second

    def add(self, named: Mapping[str, Any]) -> None:
        """List objects."""
        self.targets |= named

    # a loop begins

    def enter(self, scope: LoopFrame, iterable: object = None) -> None:
        """Remember what the loop that begins now can reach."""
        names = scope.names
        everything = names.bound | names.changed | names.called | names.mentioned
        frame = ReachedPlace(
            scope.slot,
            lambda: frames.read(scope.frame, everything),
            lambda values, remove: frames.write(scope.frame, values, remove),
            set(names.bound),
        )
        reached = reach(
            {**frame.read(), **self.targets, "<iterable>": iterable}, self.chooser.is_users, stateful.inside
        )
        known = self._objects("main") if scope.slot != "main" else {}
        known |= {name: value for name, value in self.targets.items() if stateful.is_anchor(value)}
        known_ids = {id(value) for value in known.values()}
        anchors = {
            f"{scope.slot}:{path}": value
            for path, value in reached.others.items()
            if stateful.is_anchor(value) and id(value) not in known_ids
        }
        objects = known | anchors
        places = [frame, *reached.places, *self._listed()]
        ids = {id(value) for value in reached.others.values()}
        for path, value in objects.items():
            place = stateful.attribute_place(path, value, self.chooser.is_users(type(value)))
            if place is not None and (id(value) in ids or scope.slot == "main"):
                places.append(place)
        values = {
            (place.key, name): Holder(value, self.recording) for place in places for name, value in place.read().items()
        }
        entry = LoopEntry(scope, reached, places, anchors, values)
        self._entries[scope.slot] = entry
        references = self._references(entry)
        names_and_values = (((place.key, n), v) for place in places for n, v in place.read().items())
        entry.modes = modes.modes()
        entry.identities = identities(names_and_values, references, weakly=self.recording)
        known_prints = {}
        if scope.slot != "main" and (main := self._entries.get("main")) is not None:
            known_prints = {id(main.values[key].get()): text for key, text in main.prints.items()}
        for place in places:
            for name, value in place.read().items():
                if is_atom_or_code(value):
                    continue
                if not self.chooser.is_kept_anyway(entry, place, name, value, references):
                    entry.prints[place.key, name] = known_prints.get(id(value)) or fingerprint(value)

    def _listed(self) -> Iterator[ReachedPlace]:
        plain = {n: v for n, v in self.targets.items() if not stateful.is_anchor(v) and not isinstance(v, ATOMS)}
        if plain:
            yield ReachedPlace(LISTED, lambda: dict(plain), lambda values, remove: None)

    def _objects(self, slot: str) -> dict[str, Any]:
        """Everything that keeps its identity while the loop in `slot` runs, by path."""
        found = {name: value for name, value in self.targets.items() if stateful.is_anchor(value)}
        for entry in (self._entries.get("main"), self._entries.get(slot)):
            if entry is not None:
                found |= entry.anchors
        return found

    def _code(self, slot: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in (self._entries.get(slot), self._entries.get("main")):
            if entry is not None:
                found |= entry.reached.code
        return found

    def _references(self, entry: LoopEntry) -> dict[int, Reference]:
        return references_to(self._objects(entry.scope.slot), self._code(entry.scope.slot))

    def _known_arrays(self, entry: LoopEntry, there: Mapping[Known, Any]) -> dict[Known, Any]:
        """Arrays that a replay finds by itself: those of the loop's entry, and parameters and buffers."""
        found = {key: value for key, value in there.items() if is_plain_array(value)}
        for path, value in self._objects(entry.scope.slot).items():
            for kind, parts in parts_of(value).items():
                if kind != "modules":
                    found |= {("part", path, kind, i): p for i, p in enumerate(parts) if is_plain_array(p)}
        return found

    def known(self) -> dict[str, Any]:
        """Objects that keep their identity while the main loop runs, and what the user listed, by path."""
        return {**self.targets, **self._objects("main")}

    @property
    def optimizers(self) -> int:
        """How many optimizers take part; 1 if there is none to be seen."""
        return max(1, sum(stateful.is_optimizer(value) for value in self._objects("main").values()))

    # taking

    def begin_epoch(self) -> None:
        """Copies are shared by the points of one epoch; forget those of the one before."""
        self._epochs_copies = []

    def take(self, slot: str, with_gradients: bool) -> Snapshot:
        """The state at this moment of everything that the loop in `slot` can change."""
        started = time.perf_counter()
        entry = self._entries[slot]
        objects = self._objects(slot)
        references = self._references(entry)
        choice = self.chooser.choose(entry, references)
        reached = {id(value) for value in entry.reached.others.values()}
        saved = {path: v for path, v in objects.items() if path in self.targets or id(v) in reached}
        owned = stateful.owned_parameters(objects.values())
        changed = modes.changes(entry.modes)
        lost = {n for n, value in changed.items() if pickles(value, {}, {}, _MODE_BYTES)} | modes.cannot_be_put(changed)
        there = {key: value for key, getter in entry.identities.items() if (value := getter()) is not None}
        watched = {id(value): key for key, value in there.items()}
        pickler = StatePickler(references, self.chooser.names_left_out(), with_gradients, watched=watched.keys())
        pickler.dump(
            {
                "rng": {name: _as_buffer(state) for name, state in random_states.global_state().items()},
                "objects": {path: stateful.state_of(value, with_gradients, owned) for path, value in saved.items()},
                "modes": {name: value for name, value in changed.items() if name not in lost},
                "places": choice.kept,
                "same": choice.same,
                "known": Late(lambda: {watched[i]: there[watched[i]] for i in watched if i in pickler.met}),
            }
        )
        skeleton = pickler.close(self._known_arrays(entry, there))
        workers = {f"workers of {p}" for p, v in entry.reached.others.items() if stateful.has_lasting_workers(v)}
        missing = choice.missing | workers | lost
        beyond_frame = choice.beyond or bool(workers | lost)
        beyond_frame |= bool(missing) and entry.scope.frame is not self._entries["main"].scope.frame
        if beyond_frame:
            frame = entry.places[0].read()
            missing |= {name for name, value in frame.items() if self.chooser.leads_beyond(value)}
        if pickler.met_graph or (not with_gradients and any(map(stateful.has_gradients, saved.values()))):
            missing.add(GRADIENTS)
        captured = {name for place in choice.kept.values() for name in place}
        captured |= {path.partition(":")[2] or path for path in saved}
        self._epochs_copies = gather(pickler.sources, self.arenas, self._epochs_copies)
        return Snapshot(
            skeleton,
            self._epochs_copies,
            tuple(pickler.buffers),
            frozenset(captured),
            frozenset(missing),
            frozenset(choice.opaque),
            time.perf_counter() - started,
            beyond_frame,
        )

    # comparing

    def difference(self, state: LoadedState, slot: str, ignored: frozenset[str]) -> StateDifference | None:
        """Where what is there now differs first from a state that was kept at this place. `ignored` are variables."""
        entry, objects = self._entries[slot], self._objects(slot)
        body = state.body(resolver(objects, self._code(slot)))
        for name, saved in body["rng"].items():
            now = random_states.global_state().get(name)
            if now is not None and pickle.dumps(expected_names.random_state(saved)) != pickle.dumps(now):
                return StateDifference(f"the random state of {name}", "a state", "another one")
        owned = stateful.owned_parameters(objects.values())
        for path, saved in body["objects"].items():
            if path not in objects:
                continue
            living = stateful.state_of(objects[path], True, owned)
            name = path.partition(":")[2] or path
            for part in ("state_dict", "training", "loose") if isinstance(saved, dict) else ():
                if part not in saved or part not in living:
                    continue
                found = first_difference(name, saved[part], living[part])
                if found is not None:
                    return found
        for place in entry.places:
            living_values = place.read()
            for name, saved in body["places"].get(place.key, {}).items():
                if name in living_values and name not in ignored:
                    found = first_difference(name, saved, living_values[name])
                    if found is not None:
                        return found
        return None

    # restoring

    def restore(self, state: LoadedState, slot: str) -> None:
        """Put a state back into the living objects, places and random generators."""
        entry = self._entries[slot]
        objects = self._objects(slot)
        resolve = resolver(objects, self._code(slot))
        arrays = state.arrays(lambda key: _known_here(key, resolve, entry.identities))
        body = state.body(resolve, arrays)
        arrays.move_known()
        for path, saved in body["objects"].items():
            if path not in objects:
                raise StoreError(
                    f"The checkpoint holds {path.rpartition(':')[2]!r}, which this version does not have, or does not "
                    "list in checkpointing(...), when its main loop begins."
                )
            stateful.put_state(path, objects[path], saved)
        self._refuse_what_changed(entry, body["places"])
        places = {place.key: place for place in entry.places}
        for key, values in body["places"].items():
            if values and key not in places:
                raise StoreError(f"The checkpoint holds state of {key}, which this version does not reach.")
        counterparts = None
        if "known" not in body:
            _refuse_views_in_lists(entry.identities)
        else:
            pairs = [(saved, _found(entry.identities.get(key))) for key, saved in body["known"].items()]
            counterparts = {id(saved): living for saved, living in pairs if living is not None}
        merger = Merger(self._refuse_attributes_that_changed, counterparts)
        new: dict[str, dict[str, Any]] = {key: {} for key in places}
        for again in (False, True):  # first what stays the same object: it decides what stands for what
            for key, place in places.items():
                same = set(body["same"].get(key, ()))
                for name, value in body["places"].get(key, {}).items():
                    in_place = name in same or not place.binds(name)
                    if in_place is not again:
                        living = entry.values[key, name].get() if in_place and (key, name) in entry.values else None
                        new[key][name] = merger.merge(living, value)
        for key, place in places.items():
            if key in body["places"]:
                self._put(entry, place, new[key])
        random_states.set_global_state(
            {name: expected_names.random_state(state) for name, state in body["rng"].items()}
        )
        if "modes" in body:  # older releases kept none
            modes.put(entry.modes, body["modes"])

    def _put(self, entry: LoopEntry, place: ReachedPlace, values: dict[str, Any]) -> None:
        current = place.read()
        in_frame = place is entry.places[0]
        if place.key in (LISTED, "objects"):
            for name, value in values.items():
                if current.get(name) is not value:
                    raise StoreError(f"A {type(value).__name__} ({name}) cannot be restored in place.")
            return
        stale = []
        for name, value in current.items():
            if name in values or not place.binds(name):
                continue
            was = (place.key, name) in entry.values
            if was and (not in_frame or isinstance(entry.values[place.key, name].get(), CODE)):
                values[name] = entry.values[place.key, name].get()
            elif not isinstance(value, types.ModuleType):
                stale.append(name)  # better unbound than a wrong value
        place.write({n: v for n, v in values.items() if n not in current or current[n] is not v}, stale)

    def _refuse_what_changed(self, entry: LoopEntry, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """What is not in the checkpoint had not changed then: it must not have changed here in later epochs."""
        for (key, name), was in entry.prints.items():
            place_saved = saved.get(key)
            if (
                place_saved is not None
                and name not in place_saved
                and not unchanged(entry.values[key, name].get(), was)
            ):
                raise _refusal(name)

    def _refuse_attributes_that_changed(self, holder: Any, names: Iterable[str]) -> None:
        _, prints = self.chooser.left_out.get(id(holder), (None, {}))
        for name in names:
            if name in prints and not unchanged(vars(holder).get(name), prints[name]):
                raise _refusal(f"{type(holder).__qualname__}.{name}")


def _refuse_views_in_lists(entered: Mapping[Known, Callable[[], Any]]) -> None:
    """Older releases did not keep which memory the views in a list are of."""
    arrays = [(key, getter()) for key, getter in entered.items()]
    spans = sorted(
        (span, key) for key, value in arrays if is_plain_array(value) and (span := span_of(value)) is not None
    )
    for (left, key), (right, other) in itertools.pairwise(spans):
        if left.device == right.device and right.begin < left.end and any(type(k[-1]) is int for k in (key, other)):
            raise StoreError(
                f"{key[1]!r} and {other[1]!r} share memory, and the release of flor_ray that recorded this version "
                "did not keep how: its checkpoints cannot be restored."
            )


def _known_here(key: Known, resolve: Callable[[Known], Any], entered: Mapping[Known, Callable[[], Any]]) -> Any:
    """What a block's memory is known by; None if this version does not have it."""
    if key[0] != "part":
        return _found(entered.get(key))
    try:
        return resolve(key)
    except StoreError:
        return None


def _found(getter: Callable[[], Any] | None) -> Any:
    return None if getter is None else getter()


def _as_buffer(value: Any) -> Any:
    """A value that is kept apart from the rest of the pickle: while it stays the same it costs nothing again."""
    return np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)


def _refusal(name: str) -> ReplayError:
    return ReplayError(
        f"{name!r} has been changed by epochs that this process has replayed, and is too large to be put back. Replay "
        "these epochs on their own."
    )
