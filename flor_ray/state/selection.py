"""What of a loop's state goes into a checkpoint, what need not, and what should and cannot.

    kept      variables and attributes that the loop binds or changes, and small ones that it only mentions
    same      those of them that hold the object which they held when the loop began: it is filled in place
    lost      names that have no value any more, or another one that is not kept: a restore unbinds them
    missing   what should be kept and cannot: too large, or not picklable
    opaque    what cannot be pickled and has changed, or may have done so unseen, such as environments and open files,
              and what a cached function has come to remember: a replay that takes something from it begins further back

What is large and only handed to functions is kept once it has changed (`fingerprint`). An object of the user's
that is too large may be kept without some of its attributes, as long as these do not change.
"""

from __future__ import annotations

import functools
import io
import operator
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from flor_ray.analysis.loops import LoopNames
from flor_ray.state import stateful
from flor_ray.state.early_code import EarlyCode
from flor_ray.state.fingerprint import fingerprint, hides, unchanged
from flor_ray.state.foreign import FOREIGN
from flor_ray.state.memory import Known
from flor_ray.state.modes import Modes
from flor_ray.state.pickling import Findable, own_items, pickles
from flor_ray.state.reachable import DESCRIPTORS, Reached, ReachedPlace

_STATE_BYTES = 2 << 30  # what surely is state is kept up to this; more is reported as not captured
_VARIABLE_BYTES = 16 << 20  # so is what the loop merely assigns, such as a batch, up to this
_MENTIONED_BYTES = 1 << 20  # what is only handed to functions is kept up to this, and beyond it once it has changed
_SURELY_KEPT_BYTES = 64 << 10  # tensors and arrays up to this are kept, changed or not
_TRIM_ITEMS = 1000  # containers with more are data
_TRIM_DEPTH = 4  # how deep to look in an object for what makes it too large
ATOMS = (int, float, complex, str, bytes, type(None))
CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, *DESCRIPTORS)
_CONTAINERS = (list, dict, set, tuple, frozenset)
LISTED = "listed"  # the place of listed objects without state_dict
BESIDE = ".<beside>"  # what places of objects end in that nothing in the loop names
DRAWN = ".<drawn>"  # what places of values end in that were drawn when the script began


@dataclass(frozen=True, slots=True)
class LoopFrame:
    """A frame whose loop carries variables. `slot` names it within a checkpoint: "main" or "nested"."""

    slot: str
    frame: FrameType
    names: LoopNames
    only_live: bool  # report only names as not captured that can be read before they are bound again


class Holder:
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
class LoopEntry:
    """A loop that is running, as it was when it began."""

    scope: LoopFrame
    reached: Reached
    places: list[ReachedPlace]  # the frame's is the first
    anchors: dict[str, Any]  # objects that keep their identity, by path
    values: dict[tuple[str, str], Holder]  # by place and name
    code: EarlyCode
    identities: Mapping[Known, Callable[[], Any]] = field(default_factory=dict)  # what was there, by where it was
    modes: Modes = field(default_factory=dict)  # of the process
    modules: set[str] = field(default_factory=set)  # that were imported
    caches: dict[str, str] = field(default_factory=dict)  # fingerprints of what cached functions remember
    prints: dict[tuple[str, str], str] = field(default_factory=dict)  # of what is not kept unless it changes
    kept: set[tuple[str, str]] = field(default_factory=set)  # found to fit into a checkpoint


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A name of a running loop, and what it holds now."""

    entry: LoopEntry
    place: ReachedPlace
    name: str
    value: Any

    @property
    def in_frame(self) -> bool:
        return self.place is self.entry.places[0]

    @property
    def binds(self) -> bool:
        """Whether the loop may give the name another value, rather than change the one that it holds."""
        return self.place.binds(self.name)

    @property
    def was(self) -> str:
        """Its fingerprint when the loop began; "" if it has none."""
        return self.entry.prints.get((self.place.key, self.name), "")

    @property
    def is_same(self) -> bool:
        """Whether the name still holds the object that it held when the loop began."""
        key = (self.place.key, self.name)
        return key in self.entry.values and self.entry.values[key].get() is self.value

    @property
    def needs_no_keeping(self) -> bool:
        """Modules, and atoms and code that are as they were: what is not in a checkpoint is as when the loop began."""
        if self.place.keeps_atoms:
            return False
        if isinstance(self.value, types.ModuleType):
            return not self.binds or self.is_same
        if not is_atom_or_code(self.value):
            return False
        is_settled = isinstance(self.value, CODE) or not self.in_frame
        return not self.binds or (is_settled and self.is_same)

    @property
    def must_be_kept(self) -> bool:
        """Whether without it a replay would begin with another state."""
        if not self.in_frame:
            return self.place.key == LISTED or self.binds
        names = self.entry.scope.names
        return self.name in (names.live if self.entry.scope.only_live else names.bound | names.changed)

    @property
    def has_graph(self) -> bool:
        """Whether the next epoch may go back along the graph that made it, which no checkpoint can hold."""
        scope = self.entry.scope
        carries = self.in_frame and scope.only_live and self.name in scope.names.carried
        return carries and stateful.has_graph(self.value)

    @property
    def is_called(self) -> bool:
        """Whether the loop calls methods of it that may change what it does not show."""
        is_data = isinstance(self.value, CODE) or stateful.is_data(self.value)
        return self.in_frame and self.name in self.entry.scope.names.called and not is_data

    @property
    def most_bytes(self) -> int:
        """Bytes up to which it is kept, now that it has changed."""
        return _VARIABLE_BYTES if self.in_frame and self.binds else _STATE_BYTES

    @property
    def shown(self) -> str:
        """Its name, as users are told it."""
        return shown_as(self.place.key, self.name, self.entry)


@dataclass(slots=True)
class Selection:
    """What goes into a snapshot of one loop, and what should and cannot."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # by place and name
    same: dict[str, list[str]] = field(default_factory=dict)  # names that hold the object they held at the entry
    lost: dict[str, list[str]] = field(default_factory=dict)  # names that hold something else, which is not kept
    missing: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    beyond: bool = False  # something is missing that is not a variable of the frame


@dataclass(slots=True)
class Chooser:
    """Chooses for one script."""

    is_users: Callable[[Any], bool]  # whether a class, function or module is defined in the user's project
    left_out: dict[int, tuple[Holder, dict[str, str]]] = field(default_factory=dict)  # id -> attribute -> print
    _returned: set[tuple[int, str]] = field(default_factory=set)  # left out at first, kept since they have changed

    def choose(self, entry: LoopEntry, findable: Findable) -> Selection:
        """What goes into a snapshot of this loop now. `findable` is what is not kept itself."""
        choice = Selection()
        for place in entry.places:
            candidates = [_Candidate(entry, place, name, value) for name, value in place.read().items()]
            kept = {each.name: each.value for each in candidates if self._goes_in(each, findable, choice)}
            choice.kept[place.key] = kept
            choice.same[place.key] = [each.name for each in candidates if each.name in kept and each.is_same]
            lost = (each for each in candidates if each.name not in kept and each.in_frame and each.binds)
            choice.lost[place.key] = [each.name for each in lost if not each.is_same]
            choice.lost[place.key] += gone(entry, place, {each.name for each in candidates})
        self._look_at_what_was_left_out(findable, choice)
        return choice

    def _goes_in(self, candidate: _Candidate, findable: Findable, choice: Selection) -> bool:
        """Whether a value is kept. What should be kept and cannot be is noted in `choice`."""
        if candidate.needs_no_keeping:
            return False
        if id(candidate.value) in findable:
            return candidate.binds  # the object is kept elsewhere; what the name holds is not
        if candidate.has_graph:
            choice.missing.add(candidate.name)
            return False
        if self.is_kept_anyway(candidate.entry, candidate.place, candidate.name, candidate.value, findable):
            return True
        has_changed = self._has_changed(candidate)
        if has_changed and self._fits(candidate.place, candidate.value, findable, candidate.most_bytes):
            return True
        self._tell(candidate, has_changed, findable, choice)
        return False

    def _has_changed(self, candidate: _Candidate) -> bool:
        """Whether a value may have changed since the loop began."""
        return _is_consumed(candidate.value) or not unchanged(candidate.value, candidate.was)

    def _tell(self, candidate: _Candidate, has_changed: bool, findable: Findable, choice: Selection) -> None:
        """Note what is not kept, if its lack may make a difference."""
        value = candidate.value
        if not candidate.must_be_kept and (isinstance(value, CODE) or (candidate.in_frame and candidate.binds)):
            return
        is_called = candidate.is_called
        if candidate.place.key.endswith(BESIDE):  # only a statement that is added later can ask for it
            if has_changed:
                choice.opaque.add(candidate.shown)
        elif not candidate.must_be_kept and self._is_librarys(value, findable):
            if is_called or has_changed or hides(candidate.was):
                choice.opaque.add(candidate.shown)
        elif candidate.must_be_kept or has_changed or (is_called and self.is_users(type(value))):
            choice.missing.add(candidate.shown)
            choice.beyond |= not candidate.in_frame
        elif hides(candidate.was):
            choice.opaque.add(candidate.shown)

    def is_kept_anyway(self, entry: LoopEntry, place: ReachedPlace, name: str, value: Any, findable: Findable) -> bool:
        """Whether a value is kept whether it has changed or not, because that is cheap or because it surely changes."""
        if id(value) in findable:
            return True
        if isinstance(value, types.ModuleType):
            return not findable.is_late(value)
        key = (place.key, name)
        if key in entry.prints:
            return False
        if key in entry.kept and not _grows(value):
            return True
        if not self._fits(place, value, findable, self._limit(entry, place, name, value)):
            return False
        if not _grows(value):
            entry.kept.add(key)
        return True

    def _limit(self, entry: LoopEntry, place: ReachedPlace, name: str, value: Any) -> int:
        """Bytes up to which a value is kept without asking whether it has changed."""
        names, in_frame = entry.scope.names, place is entry.places[0]
        if place.key == LISTED or (in_frame and entry.scope.only_live and name in names.carried):
            return _STATE_BYTES
        if place.binds(name) or (in_frame and name in names.changed | names.called and not stateful.is_array(value)):
            return _VARIABLE_BYTES
        return _SURELY_KEPT_BYTES if stateful.is_array(value) else _MENTIONED_BYTES

    def _fits(self, place: ReachedPlace, value: Any, findable: Findable, limit: int) -> bool:
        """Whether a value can be pickled within `limit` bytes, perhaps without some attributes of what is in it."""
        if isinstance(value, int | float | bool | None):
            return True
        return self._trim(value, findable, limit, 0 if place.key.endswith(BESIDE) else _TRIM_DEPTH)

    def _trim(self, value: Any, findable: Findable, limit: int, depth: int) -> bool:
        if not pickles(value, findable, self.names_left_out(), limit):
            return True
        if depth == 0 or id(value) in findable or isinstance(value, ATOMS) or stateful.is_array(value):
            return False
        if isinstance(value, list | tuple | dict | set) and len(value) > _TRIM_ITEMS:
            return False
        found = False
        for holder, attribute, item in list(own_items(value)):
            if isinstance(item, int | float | bool | None) or self._trim(item, findable, limit, depth - 1):
                continue
            may_lack = attribute is not None and (self.is_users(type(holder)) or stateful.is_data(holder))
            if not may_lack or isinstance(item, CODE):
                return False
            _, prints = self.left_out.setdefault(id(holder), (Holder(holder, weakly=True), {}))
            prints.setdefault(str(attribute), fingerprint(item))
            found = True
        return found and not pickles(value, findable, self.names_left_out(), limit)

    def names_left_out(self) -> dict[int, Any]:
        """Attributes that are not kept, by the id of the object that holds them; dead objects are forgotten."""
        for key, (holder, _) in list(self.left_out.items()):
            if holder.get() is None:
                del self.left_out[key]
        return {
            key: names
            for key, (_, prints) in self.left_out.items()
            if (names := [name for name in prints if (key, name) not in self._returned])
        }

    def _look_at_what_was_left_out(self, findable: Findable, choice: Selection) -> None:
        """Attributes that were left out, and are no longer what they were: now they are kept, or it is told."""
        for held, prints in self.left_out.values():
            holder = held.get()
            if holder is None or stateful.has_lasting_workers(holder):
                continue  # lasting workers are told by themselves
            for name, was in prints.items():
                value = vars(holder).get(name)
                if is_spent(value):
                    continue
                shown = f"{type(holder).__qualname__}.{name}"
                if not _is_consumed(value) and unchanged(value, was):
                    if hides(was):
                        choice.opaque.add(shown)
                    continue
                if not pickles(value, findable, self.names_left_out(), _STATE_BYTES):
                    self._returned.add((id(holder), name))  # it is state after all
                    continue
                if self._is_librarys(value, findable):
                    choice.opaque.add(shown)
                else:
                    choice.missing.add(shown)
                    choice.beyond = True

    def _is_librarys(self, value: Any, findable: Findable) -> bool:
        """Whether a value is a library's object that cannot be pickled: a log file, a writer, a progress bar."""
        if (
            stateful.is_array(value)
            or _is_consumed(value)
            or isinstance(value, _CONTAINERS)
            or self.is_users(type(value))
        ):
            return False
        return pickles(value, findable, {}, _STATE_BYTES).startswith("it cannot")

    def can_keep(self, value: Any, findable: Findable) -> bool:
        """Whether what surely is state can be pickled, and is not too large."""
        return not pickles(value, findable, self.names_left_out(), _STATE_BYTES)


def gone(entry: LoopEntry, place: ReachedPlace, there: Set[str]) -> list[str]:
    """Names that had a value when the loop began, and have none now."""
    names = (name for key, name in entry.values if key == place.key and name not in there)
    return sorted(name for name in names if place.binds(name))


def shown_as(place: str, name: str, entry: LoopEntry) -> str:
    """A name of a place, as users are told it."""
    if place in (entry.places[0].key, FOREIGN) or place.endswith((DRAWN, BESIDE)):
        return name
    return f"{place}.{name}".replace(".<globals>", "").replace("__main__.", "")


def is_atom_or_code(value: Any) -> bool:
    """Whether a value cannot change: a number, a text, None, a function or a class."""
    return isinstance(value, (*ATOMS, *CODE))


def _is_consumed(value: Any) -> bool:
    """Whether reading from a value moves it on: iterators, but not files that are closed or written."""
    return isinstance(value, Iterator) and not (isinstance(value, io.IOBase) and (value.closed or value.writable()))


def is_spent(value: Any) -> bool:
    """Whether it is an iterator of a loader's that has come to its end, from which nobody gets anything: what stands in
    its place after a restore, the next loop over the loader replaces as well."""
    loaders = sys.modules.get("torch.utils.data.dataloader")
    if loaders is None or not isinstance(value, loaders._BaseDataLoaderIter):
        return False
    drawn = value._sampler_iter
    at_end = drawn.gi_frame is None if isinstance(drawn, types.GeneratorType) else operator.length_hint(drawn, -1) == 0
    return at_end and getattr(value, "_rcvd_idx", 0) >= getattr(value, "_send_idx", 0)  # what its workers still have


def _grows(value: Any) -> bool:
    """Whether a value that fits now may not fit later."""
    return not isinstance(value, int | float | complex | bool | None) and not stateful.is_array(value)
