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

import functools
import itertools
import operator
import pickle
import re
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flor_ray.analysis.foreign_attributes import ForeignAttributes, foreign_attributes
from flor_ray.errors import ReplayError, StoreError
from flor_ray.records import GRADIENTS
from flor_ray.state import expected_names, frames, modes, random_states, shards, stateful
from flor_ray.state.beside import beside_place
from flor_ray.state.comparing import StateDifference, first_difference, position
from flor_ray.state.drawn import drawn_places
from flor_ray.state.driven import DrivenLoop
from flor_ray.state.early_code import EarlyCode
from flor_ray.state.fingerprint import fingerprint, fingerprint_of_all, hides, unchanged
from flor_ray.state.foreign import ForeignState
from flor_ray.state.identities import identities
from flor_ray.state.memory import Known, is_plain_array, span_of
from flor_ray.state.merge import Merger
from flor_ray.state.pickling import (
    Findable,
    Late,
    LoadedState,
    Reference,
    StatePickler,
    pickles,
    references_to,
    resolver,
)
from flor_ray.state.reachable import ReachedPlace, reach, remembered
from flor_ray.state.selection import (
    ATOMS,
    BESIDE,
    CODE,
    DRAWN,
    LISTED,
    Chooser,
    Holder,
    LoopEntry,
    LoopFrame,
    is_atom_or_code,
    is_spent,
    shown_as,
)
from flor_ray.state.snapshots import Arenas, ArenaSlot, Snapshot, gather, settle
from flor_ray.state.structure import Parts, Structure, parts_of, structure_of

_MODE_BYTES = 1 << 20  # of one mode of the process
__all__ = ["Capturer", "LoadedState"]


@dataclass(slots=True)
class Capturer:
    """Takes and restores the state of one script. `targets` are the objects that the user listed, by name."""

    chooser: Chooser
    recording: bool = True
    targets: dict[str, Any] = field(default_factory=dict)
    inserted: Mapping[str, frozenset[int]] = field(default_factory=dict)  # lines that the record did not have, by file
    text_of: Callable[[str], str] = lambda path: ""  # what a file says without these
    arenas: Arenas = field(default_factory=Arenas)
    _entries: dict[str, LoopEntry] = field(default_factory=dict)  # by slot
    _structures: dict[str, dict[str, Structure]] = field(default_factory=dict)  # by slot and path
    _foreign: ForeignState | None = None  # since the main loop began
    _driven: DrivenLoop | None = None  # the main loop, if a library runs it
    _epochs_copies: list[ArenaSlot] = field(default_factory=list)  # of the first point of an epoch, for the second

    def add(self, named: Mapping[str, Any]) -> None:
        """List objects."""
        self.targets |= named

    def drive(self, loop: DrivenLoop) -> None:
        """The main loop is one that a library runs."""
        self._driven = loop
        self.add(loop.targets)

    # a loop begins

    def enter(self, scope: LoopFrame, iterable: object = None) -> None:
        """Remember what the loop that begins now can reach."""
        names = scope.names
        everything = names.bound | names.changed | names.called | names.mentioned
        frame = ReachedPlace(
            scope.slot,
            lambda: frames.read(scope.frame, everything | names.added),
            lambda values, remove: frames.write(scope.frame, values, remove),
            set(names.bound | names.added),
        )
        roots = {name: value for name, value in frame.read().items() if name in everything}
        if scope.slot == "main" or self._foreign is None:
            self._foreign = ForeignState(self._said_of_foreign(scope), self.chooser.is_users)
        put = self._foreign.said.put
        driven = self._driven.places if self._driven is not None else ()
        held = {f"{place.key}.{name}": value for place in driven for name, value in place.read().items()}
        text = self.text_of(scope.frame.f_code.co_filename)
        beside = None if scope.slot != "main" else beside_place(scope, everything, text, self.chooser.is_users)
        others = {} if beside is None else beside.read()
        reached = reach(
            {**others, **roots, **held, **self.targets, "<iterable>": iterable},
            self.chooser.is_users,
            stateful.inside,
            self.inserted,
            {**self._foreign.followed(), **stateful.hooks_of_all(self.chooser.is_users)},
        )
        if self._driven is not None:
            reached.code.update({f"<driven>.{name}": value for name, value in self._driven.fixed.items()})
        self._foreign.meet(reached.others.values())
        known = self._objects("main") if scope.slot != "main" else {}
        known |= {name: value for name, value in self.targets.items() if stateful.is_anchor(value)}
        known_ids = {id(value) for value in known.values()}
        anchors = {
            f"{scope.slot}:{path}": value
            for path, value in reached.others.items()
            if stateful.is_anchor(value) and id(value) not in known_ids
        }
        objects = known | anchors
        places = [frame, *self._drawn(scope), *filter(None, [beside]), *reached.places]
        places += [self._foreign.place(), *self._listed(), *driven]
        ids = {id(value) for value in reached.others.values()}
        for path, value in objects.items():
            place = stateful.attribute_place(path, value, self.chooser.is_users(type(value)), put)
            if place is not None and (id(value) in ids or scope.slot == "main"):
                places.append(place)
        places += self._put_places(reached.others, put)
        values = {
            (place.key, name): Holder(value, self.recording) for place in places for name, value in place.read().items()
        }
        before = next((entry.code for entry in reversed(self._entries.values())), None)
        entry = LoopEntry(scope, reached, places, anchors, values, EarlyCode(self.chooser.is_users, before))
        self._entries[scope.slot] = entry
        structures = ((path, structure_of(value, weakly=self.recording)) for path, value in objects.items())
        self._structures[scope.slot] = {path: found for path, found in structures if found is not None}
        findable = self._findable(entry)
        known_names = ((p, n, v) for p in places for n, v in p.read().items() if p is not frame or n in roots)
        names_and_values = (((place.key, name), value) for place, name, value in known_names)
        entry.modes = modes.modes()
        entry.modules = set(sys.modules)
        entry.caches = self._caches_when_the_main_loop_began(scope.slot)
        entry.caches |= {
            path: fingerprint_of_all(remembered(cache))
            for path, cache in reached.caches.items()
            if path not in entry.caches
        }
        entry.identities = identities(names_and_values, findable.references, weakly=self.recording)
        findable = self._findable(entry)
        known_prints = {}
        if scope.slot != "main" and (main := self._entries.get("main")) is not None:
            known_prints = {id(main.values[key].get()): text for key, text in main.prints.items()}
        for place in places:
            for name, value in place.read().items():
                if is_atom_or_code(value):
                    continue
                if not self.chooser.is_kept_anyway(entry, place, name, value, findable):
                    entry.prints[place.key, name] = known_prints.get(id(value)) or fingerprint(value)

    def _caches_when_the_main_loop_began(self, slot: str) -> dict[str, str]:
        """Fingerprints of the cached functions that a nested loop shares with it."""
        main = self._entries.get("main")
        return dict(main.caches) if slot != "main" and main is not None else {}

    def _said_of_foreign(self, scope: LoopFrame) -> ForeignAttributes:
        """What the user's modules, and the file that the loop stands in, may set in libraries."""
        modules: list[Any] = list(sys.modules.values())  # some put other things there
        users = (each for each in modules if isinstance(each, types.ModuleType) and self.chooser.is_users(each))
        files = {getattr(module, "__file__", None) for module in users}
        texts = (self.text_of(file) for file in sorted({scope.frame.f_code.co_filename, *filter(None, files)}))
        return functools.reduce(operator.or_, map(foreign_attributes, texts), ForeignAttributes())

    def _drawn(self, scope: LoopFrame) -> Iterator[ReachedPlace]:
        """What the scopes around a loop have drawn anew when the script began, mentioned in the loop or not."""
        main = self._entries.get("main")
        outer = [] if scope.slot == "main" or main is None else [main.scope]
        for each in (scope, *outer):
            yield from drawn_places(each, self.text_of(each.frame.f_code.co_filename), self.chooser.is_users)

    def _put_places(self, objects: Mapping[str, Any], put: Set[str]) -> Iterator[ReachedPlace]:
        """What the user's code has set on objects of libraries; of modules, their own place has it."""
        for path, value in objects.items():
            if not self.chooser.is_users(type(value)) and not stateful.is_module(value):
                yield from filter(None, [stateful.put_place(path, value, put)])

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

    def _late_modules(self, entry: LoopEntry) -> set[str]:
        """The user's modules that were imported since the loop began, and hold something: a replay lacks them there."""
        late = {name: sys.modules[name] for name in sorted(sys.modules.keys() - entry.modules)}
        found = {name for name, module in late.items() if self.chooser.is_users(module)}
        return {name for name in found if self._holds_state(late[name]) or self._sets_foreign(late[name])}

    def _sets_foreign(self, module: types.ModuleType) -> bool:
        said = foreign_attributes(self.text_of(getattr(module, "__file__", None) or ""))
        return bool(said.pairs or said.wholes)

    def _holds_state(self, module: types.ModuleType) -> bool:
        places = reach({"module": module}, self.chooser.is_users, stateful.inside).places
        own = [place for place in places if place.key.startswith((f"{module.__name__}.", f"{module.__name__}:"))]
        return any(not isinstance(v, (*CODE, types.ModuleType)) for place in own for v in place.read().values())

    def _findable(self, entry: LoopEntry) -> Findable:
        slot = entry.scope.slot
        references = references_to(self._objects(slot), self._code(slot), self._parts(slot))
        there = {key: value for key, getter in entry.identities.items() if (value := getter()) is not None}
        by_id = {id(value): (key, value) for key, value in there.items()}
        return Findable(references, entry.code.is_late, by_id, self.chooser.is_users)

    def _parts(self, slot: str) -> dict[str, Parts]:
        """Of each object, the parts that it had when the loop began."""
        known = self._structures.get(slot, {})
        return {p: known[p].parts() if p in known else parts_of(value) for p, value in self._objects(slot).items()}

    def _resolver(self, slot: str) -> Callable[[Reference], Any]:
        return resolver(self._objects(slot), self._code(slot), self._parts(slot))

    def _wholes(
        self, slot: str, objects: Mapping[str, Any], findable: Findable, with_gradients: bool
    ) -> tuple[dict[str, Any], set[str]]:
        """Of the objects that do not consist of the same parts any more, what they consist of; and those of which that
        cannot be kept."""
        found: dict[str, Any] = {}
        lost: set[str] = set()
        settled: set[int] = set()  # modules of a larger one that is the same, or lost
        for path, value in objects.items():
            structure = self._structures.get(slot, {}).get(path)
            if structure is None or id(value) in settled:
                continue
            whole = None if (same := structure.same()) else structure.whole(with_gradients)
            if whole is not None and self.chooser.can_keep(whole, findable):
                found[path] = whole
                continue
            if stateful.is_module(value):
                settled |= {id(module) for module in value.modules()}
            if not same:
                lost.add(path.partition(":")[2] or path)
        return found, lost

    def _known_arrays(self, entry: LoopEntry, there: Mapping[Known, Any]) -> dict[Known, Any]:
        """Arrays that a replay finds by itself: those of the loop's entry, and parameters and buffers."""
        found = {key: value for key, value in there.items() if is_plain_array(value)}
        for path, parts in self._parts(entry.scope.slot).items():
            for kind in ("parameters", "buffers"):
                found |= {("part", path, kind, i): p for i, p in enumerate(parts.get(kind, ())) if is_plain_array(p)}
        return found

    def known(self) -> dict[str, Any]:
        """Objects that keep their identity while the main loop runs, and what the user listed, by path."""
        return {**self.targets, **self._objects("main")}

    def iterators(self) -> dict[str, Any]:
        """Iterators and generators that the running loops' code can reach, by path."""
        entries = self._entries.values()
        found = {path: v for entry in entries for path, v in entry.reached.others.items()}
        found |= {shown_as(p.key, n, e): v for e in entries for p in e.places for n, v in p.read().items()}
        return {path: value for path, value in found.items() if position(value) is not None}

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
        settle()
        started = time.perf_counter()
        entry = self._entries[slot]
        objects = self._objects(slot)
        findable = self._findable(entry)
        choice = self.chooser.choose(entry, findable)
        reached = {id(value) for value in entry.reached.others.values()}
        saved = {path: v for path, v in objects.items() if path in self.targets or id(v) in reached}
        owned = stateful.owned_parameters(objects.values())
        wholes, unkept = self._wholes(slot, saved, findable, with_gradients)
        states = {
            path: {}  # that of parameters which have left their groups is in no state_dict
            if path in wholes and stateful.is_optimizer(value)
            else stateful.state_of(value, with_gradients, owned)
            for path, value in saved.items()
        }
        for path, structure in self._structures.get(slot, {}).items():
            if path in states and (structure.hooks or path in wholes):
                states[path] |= {"hooks": structure.hooks}
            if path in wholes:
                states[path] |= {"whole": wholes[path]}
        changed = modes.changes(entry.modes)
        plain = Findable(is_users=self.chooser.is_users)
        lost = {name for name, value in changed.items() if pickles(value, plain, {}, _MODE_BYTES)}
        lost |= modes.cannot_be_put(changed)
        there = findable.there
        pickler = StatePickler(findable, self.chooser.names_left_out(), with_gradients)
        pickler.dump(
            {
                "rng": {name: _as_buffer(state) for name, state in random_states.global_state().items()},
                "objects": states,
                "modes": {name: value for name, value in changed.items() if name not in lost},
                "places": choice.kept,
                "same": choice.same,
                "lost": choice.lost,
                "known": Late(lambda: dict(found for i, found in there.items() if i in pickler.met)),
            }
        )
        skeleton = pickler.close(self._known_arrays(entry, dict(there.values())))
        workers = {f"workers of {p}" for p, v in entry.reached.others.items() if stateful.has_lasting_workers(v)}
        lost |= self._late_modules(entry)
        missing = choice.missing | workers | lost | unkept
        beyond_frame = choice.beyond or bool(workers | lost) or (bool(unkept) and slot != "main")
        caches = {
            path
            for path, cache in entry.reached.caches.items()
            if hides(was := entry.caches[path]) or not was or fingerprint_of_all(remembered(cache)) != was
        }
        beyond_frame |= bool(missing) and entry.scope.frame is not self._entries["main"].scope.frame
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
            frozenset(choice.opaque | caches),
            time.perf_counter() - started,
            beyond_frame,
        )

    # comparing

    def difference(self, state: LoadedState, slot: str, ignored: frozenset[str]) -> StateDifference | None:
        """Where what is there now differs first from a state that was kept at this place. `ignored` are variables, and
        `module.name` what functions and classes of other modules reach."""
        entry, objects = self._entries[slot], self._objects(slot)
        body = state.body(self._resolver(slot))
        for name, saved in body["rng"].items():
            now = random_states.global_state().get(name)
            if now is not None and pickle.dumps(expected_names.random_state(saved)) != pickle.dumps(now):
                return StateDifference(f"the random state of {name}", "a state", "another one")
        owned = stateful.owned_parameters(objects.values())
        for path, saved in body["objects"].items():
            if path not in objects or not getattr(objects[path], "compares", True):
                continue
            living = stateful.state_of(objects[path], True, owned)
            name = path.partition(":")[2] or path
            for part in ("state_dict", "training", "loose") if isinstance(saved, dict) else ():
                if part not in saved or part not in living:
                    continue
                found = first_difference(name, saved[part], living[part])
                if found is not None:
                    return found
        for place in (each for each in entry.places if not each.keeps_atoms):  # drawn anew, these never agree
            living_values = place.read()
            for name, saved in body["places"].get(place.key, {}).items():
                module = re.split(r"\.<|:", place.key)[0]
                if name in living_values and name not in ignored and f"{module}.{name}" not in ignored:
                    found = first_difference(name, saved, living_values[name])
                    if found is not None:
                        return found
        return None

    # restoring

    def restore(self, state: LoadedState, slot: str, opaque: frozenset[str] = frozenset()) -> None:
        """Put a state back into the living objects, places and random generators. `opaque` is what it does not hold and
        nobody needs from it: that stays as it is."""
        entry = self._entries[slot]
        objects = self._objects(slot)
        for value in objects.values():
            shards.share_out(value)
        structures = self._structures[slot]
        resolve = self._resolver(slot)
        arrays = state.arrays(lambda key: _known_here(key, resolve, entry.identities))
        body = state.body(resolve, arrays)
        arrays.move_known()
        for path, saved in body["objects"].items():
            if path not in objects:
                raise ReplayError(
                    f"The checkpoint holds {path.rpartition(':')[2]!r}, which this version does not have, or does not "
                    "list in checkpointing(...), when its main loop begins."
                )
            structure = structures.get(path)
            if structure is not None and "hooks" in saved:
                structure.must_have(saved["hooks"], _is_whole(saved))
            if _is_whole(saved):
                continue  # until it is clear what stands for what
            if structure is not None:
                structure.put_back()
            stateful.put_state(path, objects[path], saved)
        self._refuse_what_changed(entry, body["places"], opaque)
        places = {place.key: place for place in entry.places}
        for key, values in body["places"].items():
            if values and key not in places and not key.endswith(DRAWN):
                raise StoreError(f"The checkpoint holds state of {key}, which this version does not reach.")
        counterparts = None
        if "known" not in body:
            _refuse_views_in_lists(entry.identities)
        else:
            pairs = [(saved, _found(entry.identities.get(key))) for key, saved in body["known"].items()]
            counterparts = {id(saved): living for saved, living in pairs if living is not None}
        merger = Merger(lambda held, lost: self._refuse_attributes_that_changed(held, lost, opaque), counterparts)
        new: dict[str, dict[str, Any]] = {key: {} for key in places}
        for again in (False, True):  # first what stays the same object: it decides what stands for what
            for key, place in places.items():
                same = set(body["same"].get(key, ()))
                for name, value in body["places"].get(key, {}).items():
                    in_place = name in same or not place.binds(name)
                    if in_place is not again:
                        living = entry.values[key, name].get() if in_place and (key, name) in entry.values else None
                        new[key][name] = merger.merge(living, value)
        for path, saved in body["objects"].items():
            if _is_whole(saved):
                structures[path].put_whole(merger.merge(None, saved["whole"]))
                stateful.put_training(objects[path], saved)
        # One that is not in it is as a new process has it. What was drawn comes last: others may have the same names.
        for key, place in sorted(places.items(), key=lambda item: item[0].endswith(DRAWN)):
            self._put(entry, place, new[key], set(body.get("lost", {}).get(key, ())))
        if body["rng"]:  # nobody kept those of an adopted run
            states = {name: expected_names.random_state(state) for name, state in body["rng"].items()}
            random_states.set_global_state(states)
        if "modes" in body:  # older releases kept none
            modes.put(entry.modes, body["modes"])

    def _put(self, entry: LoopEntry, place: ReachedPlace, values: dict[str, Any], lost: Set[str]) -> None:
        current = place.read()
        in_frame = place is entry.places[0]
        if place.key in (LISTED, "objects") or place.key.endswith(BESIDE):
            for name, value in values.items():
                if current.get(name) is not value:
                    raise StoreError(f"A {type(value).__name__} ({name}) cannot be restored in place.")
            return
        stale = []
        for name, value in current.items():
            if name in values or not place.binds(name):
                continue
            was = (place.key, name) in entry.values and name not in lost
            if was and (not in_frame or isinstance(entry.values[place.key, name].get(), CODE)):
                values[name] = entry.values[place.key, name].get()
            elif name in lost or not isinstance(value, types.ModuleType):
                stale.append(name)  # better unbound than a wrong value
        place.write({n: v for n, v in values.items() if n not in current or current[n] is not v}, stale)

    def _refuse_what_changed(
        self, entry: LoopEntry, saved: Mapping[str, Mapping[str, Any]], opaque: frozenset[str]
    ) -> None:
        """What is not in the checkpoint had not changed then: it must not have changed here in later epochs."""
        for (key, name), was in entry.prints.items():
            place_saved = saved.get(key)
            if (
                place_saved is not None
                and name not in place_saved
                and shown_as(key, name, entry) not in opaque
                and not unchanged(entry.values[key, name].get(), was)
            ):
                raise _refusal(name)

    def _refuse_attributes_that_changed(self, holder: Any, names: Iterable[str], opaque: frozenset[str]) -> None:
        _, prints = self.chooser.left_out.get(id(holder), (None, {}))
        for name in names:
            shown, value = f"{type(holder).__qualname__}.{name}", vars(holder).get(name)
            if shown in opaque or name not in prints or is_spent(value):
                continue
            if not unchanged(value, prints[name]):
                raise _refusal(shown)


def _is_whole(saved: Any) -> bool:
    return isinstance(saved, dict) and "whole" in saved


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


def _refusal(name: str) -> StoreError:
    return StoreError(
        f"{name!r} has been changed by epochs that this process has replayed, and had not been changed when the "
        "checkpoint was taken: it is not in it."
    )
