"""Checkpoints: what is in one, how it is taken from a running script, and how it is put back.

    objects   what the user listed, and everything else with state_dict, and random generators, that the loop can reach
    places    variables of the loop's frame (flor_ray.variables), and what its code reaches besides (flor_ray.reach)
    rng       python, numpy, torch CPU and every CUDA device

A checkpoint is a pickle in which each tensor is a reference to its bytes, and so is each object that has its own entry
(flor_ray.pickling). The bytes are copied here and hashed and written elsewhere (flor_ray.snapshots).

`enter` is called where a loop begins, both in recording and in replaying: what there is then, it finds again by name.
torch and numpy are looked up in `sys.modules`: a script that does not use them never pays for their import.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import time
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from flor_ray import rng, states, variables
from flor_ray.errors import ReplayError, StoreError
from flor_ray.fingerprint import fingerprint
from flor_ray.merge import Merger
from flor_ray.pickling import LoadedState, Reference, StatePickler, own_items, pickles, references_to, resolver
from flor_ray.reach import Place, Reached, reach
from flor_ray.records import GRADIENTS
from flor_ray.snapshots import Arenas, Slot, Snapshot, gather
from flor_ray.variables import LoopNames

__all__ = ["Capturer", "LoadedState", "Scope"]

_STATE_BYTES = 2 << 30  # what surely is state is kept up to this; more is reported as not captured
_VARIABLE_BYTES = 16 << 20  # so is what the loop merely assigns, such as a batch, up to this
_MENTIONED_BYTES = 1 << 20  # what is only handed to functions is kept up to this, and beyond it once it has changed
_SURELY_KEPT_BYTES = 64 << 10  # tensors and arrays up to this are kept, changed or not
_TRIM_ITEMS = 1000  # containers with more are data
_TRIM_DEPTH = 4  # how deep to look in an object for what makes it too large
_ATOMS = (int, float, complex, str, bytes, type(None))
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
_CONTAINERS = (list, dict, set, tuple, frozenset)
_LISTED = "listed"  # the place of listed objects without state_dict


@dataclass(frozen=True, slots=True)
class Scope:
    """A frame whose loop carries variables. `slot` names it within a checkpoint: "main" or "nested"."""

    slot: str
    frame: FrameType
    names: LoopNames
    only_live: bool  # report only names as not captured that can be read before they are bound again


class _Holder:
    """Holds an object; while recording weakly where that is possible: the script decides how long things live."""

    __slots__ = ("get",)

    def __init__(self, value: Any, weakly: bool) -> None:
        self.get: Callable[[], Any] = lambda: value
        if weakly:
            try:
                self.get = weakref.ref(value)
            except TypeError:
                return


@dataclass(slots=True)
class _Entry:
    """A loop that is running, as it was when it began."""

    scope: Scope
    reached: Reached
    places: list[Place]  # the frame's is the first
    anchors: dict[str, Any]  # objects that keep their identity, by path
    values: dict[tuple[str, str], _Holder]  # by place and name
    prints: dict[tuple[str, str], str] = field(default_factory=dict)  # of what is not kept unless it changes
    kept: set[tuple[str, str]] = field(default_factory=set)  # found to fit into a checkpoint


@dataclass(slots=True)
class _Choice:
    """What goes into a snapshot of one loop, and what should and cannot."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # by place and name
    same: dict[str, list[str]] = field(default_factory=dict)  # names that hold the object they held at the entry
    missing: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    beyond: bool = False  # something is missing that is not a variable of the frame


@dataclass(slots=True)
class Capturer:
    """Takes and restores the state of one script. `targets` are the objects that the user listed, by name."""

    is_users: Callable[[Any], bool]  # whether a class, function or module is defined in the user's project
    recording: bool = True
    targets: dict[str, Any] = field(default_factory=dict)
    arenas: Arenas = field(default_factory=Arenas)
    _entries: dict[str, _Entry] = field(default_factory=dict)  # by slot
    _epochs_copies: list[Slot] = field(default_factory=list)  # of the first point of an epoch, for the second
    _left_out: dict[int, tuple[_Holder, dict[str, str]]] = field(default_factory=dict)  # id -> attribute -> print
    _returned: set[tuple[int, str]] = field(default_factory=set)  # left out at first, kept since they have changed

    def add(self, named: Mapping[str, Any]) -> None:
        """List objects."""
        self.targets |= named

    # a loop begins

    def enter(self, scope: Scope, iterable: object = None) -> None:
        """Remember what the loop that begins now can reach."""
        names = scope.names
        everything = names.bound | names.changed | names.called | names.mentioned
        frame = Place(
            scope.slot,
            lambda: variables.read(scope.frame, everything),
            lambda values, remove: variables.write(scope.frame, values, remove),
            set(names.bound),
        )
        reached = reach({**frame.read(), **self.targets, "<iterable>": iterable}, self.is_users, states.inside)
        known = self._objects("main") if scope.slot != "main" else {}
        known |= {name: value for name, value in self.targets.items() if states.is_anchor(value)}
        known_ids = {id(value) for value in known.values()}
        anchors = {
            f"{scope.slot}:{path}": value
            for path, value in reached.others.items()
            if states.is_anchor(value) and id(value) not in known_ids
        }
        objects = known | anchors
        places = [frame, *reached.places, *self._listed()]
        ids = {id(value) for value in reached.others.values()}
        for path, value in objects.items():
            place = states.attribute_place(path, value, self.is_users(type(value)))
            if place is not None and (id(value) in ids or scope.slot == "main"):
                places.append(place)
        values = {
            (place.key, name): _Holder(value, self.recording)
            for place in places
            for name, value in place.read().items()
        }
        entry = _Entry(scope, reached, places, anchors, values)
        self._entries[scope.slot] = entry
        references = self._references(entry)
        known_prints = {}
        if scope.slot != "main" and (main := self._entries.get("main")) is not None:
            known_prints = {id(main.values[key].get()): text for key, text in main.prints.items()}
        for place in places:
            for name, value in place.read().items():
                if not self._is_atom_or_code(value) and not self._is_kept_anyway(entry, place, name, value, references):
                    entry.prints[place.key, name] = known_prints.get(id(value)) or fingerprint(value)

    def _listed(self) -> Iterator[Place]:
        plain = {n: v for n, v in self.targets.items() if not states.is_anchor(v) and not isinstance(v, _ATOMS)}
        if plain:
            yield Place(_LISTED, lambda: dict(plain), lambda values, remove: None)

    def _objects(self, slot: str) -> dict[str, Any]:
        """Everything that keeps its identity while the loop in `slot` runs, by path."""
        found = {name: value for name, value in self.targets.items() if states.is_anchor(value)}
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

    def _references(self, entry: _Entry) -> dict[int, Reference]:
        return references_to(self._objects(entry.scope.slot), self._code(entry.scope.slot))

    @property
    def optimizers(self) -> int:
        """How many optimizers take part; 1 if there is none to be seen."""
        return max(1, sum(states.is_optimizer(value) for value in self._objects("main").values()))

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
        choice = self._choose(entry, references)
        self._look_at_what_was_left_out(references, choice)
        reached = {id(value) for value in entry.reached.others.values()}
        saved = {path: v for path, v in objects.items() if path in self.targets or id(v) in reached}
        owned = states.owned_parameters(objects.values())
        pickler = StatePickler(references, self._names_left_out(), with_gradients)
        pickler.dump(
            {
                "rng": {name: _as_buffer(state) for name, state in rng.global_state().items()},
                "objects": {path: states.state_of(value, with_gradients, owned) for path, value in saved.items()},
                "places": choice.kept,
                "same": choice.same,
            }
        )
        workers = {f"workers of {p}" for p, v in entry.reached.others.items() if states.has_lasting_workers(v)}
        missing = choice.missing | workers
        beyond_frame = choice.beyond or bool(workers)
        beyond_frame |= bool(missing) and entry.scope.frame is not self._entries["main"].scope.frame
        if beyond_frame:
            frame = entry.places[0].read()
            missing |= {name for name, value in frame.items() if self._leads_beyond(value)}
        if pickler.met_graph or (not with_gradients and any(map(states.has_gradients, saved.values()))):
            missing.add(GRADIENTS)
        captured = {name for place in choice.kept.values() for name in place}
        captured |= {path.partition(":")[2] or path for path in saved}
        self._epochs_copies = gather(pickler.sources, self.arenas, self._epochs_copies)
        return Snapshot(
            pickler.skeleton,
            self._epochs_copies,
            tuple(pickler.buffers),
            frozenset(captured),
            frozenset(missing),
            frozenset(choice.opaque),
            time.perf_counter() - started,
            beyond_frame,
        )

    def _choose(self, entry: _Entry, references: Mapping[int, Reference]) -> _Choice:
        choice = _Choice()
        for place in entry.places:
            values = place.read()
            kept = {n: v for n, v in values.items() if self._goes_in(entry, place, n, v, references, choice)}
            choice.kept[place.key] = kept
            choice.same[place.key] = [n for n, v in kept.items() if self._same(entry, place, n, v)]
        return choice

    def _same(self, entry: _Entry, place: Place, name: str, value: Any) -> bool:
        """Whether a name still holds the object that it held when the loop began."""
        key = (place.key, name)
        return key in entry.values and entry.values[key].get() is value

    def _goes_in(
        self,
        entry: _Entry,
        place: Place,
        name: str,
        value: Any,
        references: Mapping[int, Reference],
        choice: _Choice,
    ) -> bool:
        names, in_frame = entry.scope.names, place is entry.places[0]
        binds = place.binds(name)
        if isinstance(value, types.ModuleType) or (not binds and self._is_atom_or_code(value)):
            return False
        if not in_frame and isinstance(value, _ATOMS + _CODE) and self._same(entry, place, name, value):
            return False  # what is not in a checkpoint is as it was when the loop began
        if in_frame and isinstance(value, _CODE) and self._same(entry, place, name, value):
            return False
        if id(value) in references:
            return binds
        must = place.key == _LISTED or binds
        if in_frame:
            must = name in (names.live if entry.scope.only_live else names.bound | names.changed)
            if entry.scope.only_live and name in names.carried and states.has_graph(value):
                choice.missing.add(name)
                return False
        if self._is_kept_anyway(entry, place, name, value, references):
            return True
        key = (place.key, name)
        was = entry.prints.get(key)
        changed = was is None or _is_consumed(value) or fingerprint(value) != was
        if changed and self._fits(value, references, _VARIABLE_BYTES if in_frame and binds else _STATE_BYTES):
            return True
        if not must and (isinstance(value, _CODE) or (in_frame and binds)):
            return False
        shown = name if in_frame else f"{place.key}.{name}".replace(".<globals>", "")
        called = in_frame and name in names.called and not isinstance(value, _CODE) and not states.is_data(value)
        if not must and self._is_librarys(value, references):
            if called or changed:
                choice.opaque.add(shown)
        elif must or changed or (called and self.is_users(type(value))):
            choice.missing.add(shown)
            choice.beyond |= not in_frame
        return False

    def _is_kept_anyway(
        self, entry: _Entry, place: Place, name: str, value: Any, references: Mapping[int, Reference]
    ) -> bool:
        """Whether a value is kept whether it has changed or not, because that is cheap or because it surely changes."""
        if id(value) in references or isinstance(value, types.ModuleType):
            return True
        key = (place.key, name)
        if key in entry.kept or key in entry.prints:
            return key in entry.kept
        if not self._fits(value, references, self._limit(entry, place, name, value)):
            return False
        if not _grows(value):
            entry.kept.add(key)
        return True

    def _limit(self, entry: _Entry, place: Place, name: str, value: Any) -> int:
        """Bytes up to which a value is kept without asking whether it has changed."""
        names, in_frame = entry.scope.names, place is entry.places[0]
        if place.key == _LISTED or (in_frame and entry.scope.only_live and name in names.carried):
            return _STATE_BYTES
        if place.binds(name) or (in_frame and name in names.changed | names.called and not _is_array(value)):
            return _VARIABLE_BYTES
        return _SURELY_KEPT_BYTES if _is_array(value) else _MENTIONED_BYTES

    def _fits(self, value: Any, references: Mapping[int, Reference], limit: int) -> bool:
        """Whether a value can be pickled within `limit` bytes, perhaps without some attributes of what is in it."""
        if isinstance(value, int | float | bool | None):
            return True
        return self._trim(value, references, limit, _TRIM_DEPTH)

    def _trim(self, value: Any, references: Mapping[int, Reference], limit: int, depth: int) -> bool:
        if not pickles(value, references, self._names_left_out(), limit):
            return True
        if depth == 0 or id(value) in references or isinstance(value, _ATOMS) or _is_array(value):
            return False
        if isinstance(value, list | tuple | dict | set) and len(value) > _TRIM_ITEMS:
            return False
        found = False
        for holder, attribute, item in list(own_items(value)):
            if isinstance(item, int | float | bool | None) or self._trim(item, references, limit, depth - 1):
                continue
            may_lack = attribute is not None and (self.is_users(type(holder)) or states.is_data(holder))
            if not may_lack or isinstance(item, _CODE):
                return False
            _, prints = self._left_out.setdefault(id(holder), (_Holder(holder, weakly=True), {}))
            prints.setdefault(str(attribute), fingerprint(item))
            found = True
        return found and not pickles(value, references, self._names_left_out(), limit)

    def _names_left_out(self) -> dict[int, Any]:
        for key, (holder, _) in list(self._left_out.items()):
            if holder.get() is None:
                del self._left_out[key]
        return {
            key: names
            for key, (_, prints) in self._left_out.items()
            if (names := [name for name in prints if (key, name) not in self._returned])
        }

    def _look_at_what_was_left_out(self, references: Mapping[int, Reference], choice: _Choice) -> None:
        """Attributes that were left out, and are no longer what they were: now they are kept, or it is told."""
        for held, prints in self._left_out.values():
            holder = held.get()
            if holder is None or states.has_lasting_workers(holder):
                continue  # lasting workers are told by themselves
            for name, was in prints.items():
                value = vars(holder).get(name)
                if not _is_consumed(value) and fingerprint(value) == was:
                    continue
                if not pickles(value, references, self._names_left_out(), _STATE_BYTES):
                    self._returned.add((id(holder), name))  # it is state after all
                    continue
                shown = f"{type(holder).__qualname__}.{name}"
                if self._is_librarys(value, references):
                    choice.opaque.add(shown)
                else:
                    choice.missing.add(shown)
                    choice.beyond = True

    def _is_librarys(self, value: Any, references: Mapping[int, Reference]) -> bool:
        """Whether a value is a library's object that cannot be pickled: a log file, a writer, a progress bar."""
        if _is_array(value) or _is_consumed(value) or isinstance(value, _CONTAINERS) or self.is_users(type(value)):
            return False
        return pickles(value, references, {}, _STATE_BYTES).startswith("it cannot")

    def _leads_beyond(self, value: Any) -> bool:
        """Whether the user's code behind a variable may read what is not in the frame."""
        if isinstance(value, types.FunctionType | type | types.ModuleType):
            return self.is_users(value)
        return isinstance(value, types.MethodType) or self.is_users(type(value))

    def _is_atom_or_code(self, value: Any) -> bool:
        return isinstance(value, (*_ATOMS, *_CODE))

    # restoring

    def restore(self, state: LoadedState, slot: str) -> None:
        """Put a state back into the living objects, places and random generators."""
        entry = self._entries[slot]
        objects = self._objects(slot)
        body = state.body(resolver(objects, self._code(slot)))
        for path, saved in body["objects"].items():
            if path not in objects:
                raise StoreError(
                    f"The checkpoint holds {path.rpartition(':')[2]!r}, which this version does not have, or does not "
                    "list in checkpointing(...), when its main loop begins."
                )
            states.put_state(path, objects[path], saved)
        self._refuse_what_changed(entry, body["places"])
        places = {place.key: place for place in entry.places}
        for key, values in body["places"].items():
            if values and key not in places:
                raise StoreError(f"The checkpoint holds state of {key}, which this version does not reach.")
        merger = Merger(self._refuse_attributes_that_changed)
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
        rng.set_global_state({name: pickle.loads(state) for name, state in body["rng"].items()})

    def _put(self, entry: _Entry, place: Place, values: dict[str, Any]) -> None:
        current = place.read()
        in_frame = place is entry.places[0]
        if place.key in (_LISTED, "objects"):
            for name, value in values.items():
                if current.get(name) is not value:
                    raise StoreError(f"A {type(value).__name__} ({name}) cannot be restored in place.")
            return
        stale = []
        for name, value in current.items():
            if name in values or not place.binds(name):
                continue
            was = (place.key, name) in entry.values
            if was and (not in_frame or isinstance(entry.values[place.key, name].get(), _CODE)):
                values[name] = entry.values[place.key, name].get()
            elif not isinstance(value, types.ModuleType):
                stale.append(name)  # better unbound than a wrong value
        place.write({n: v for n, v in values.items() if n not in current or current[n] is not v}, stale)

    def _refuse_what_changed(self, entry: _Entry, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """What is not in the checkpoint had not changed then: it must not have changed here in later epochs."""
        for (key, name), was in entry.prints.items():
            place_saved = saved.get(key)
            if (
                place_saved is not None
                and name not in place_saved
                and fingerprint(entry.values[key, name].get()) != was
            ):
                raise _refusal(name)

    def _refuse_attributes_that_changed(self, holder: Any, names: Iterable[str]) -> None:
        _, prints = self._left_out.get(id(holder), (None, {}))
        for name in names:
            if name in prints and fingerprint(vars(holder).get(name)) != prints[name]:
                raise _refusal(f"{type(holder).__qualname__}.{name}")


def _as_buffer(value: Any) -> Any:
    """A value that is kept apart from the rest of the pickle: while it stays the same it costs nothing again."""
    return np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)


def _refusal(name: str) -> ReplayError:
    return ReplayError(
        f"{name!r} has been changed by epochs that this process has replayed, and is too large to be put back. Replay "
        "these epochs on their own."
    )


def _is_array(value: Any) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (torch is not None and isinstance(value, torch.Tensor)) or (
        numpy is not None and isinstance(value, numpy.ndarray)
    )


def _is_consumed(value: Any) -> bool:
    """Whether reading from a value moves it on: iterators, but not files that are written."""
    return isinstance(value, Iterator) and not (isinstance(value, io.IOBase) and value.writable())


def _grows(value: Any) -> bool:
    """Whether a value that fits now may not fit later."""
    return not isinstance(value, int | float | complex | bool | None) and not _is_array(value)
