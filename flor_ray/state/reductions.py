"""Objects of classes of the user's that say themselves how they are pickled, by `__getstate__` or `__reduce__`: that is
for travelling or copying, and may leave out what the script goes on with.

    own reduction + the attributes that it lacks or alters ──> whole reduction

What is left out and cannot be pickled (a lock, a connection) is for the class to make anew, as it says it does.
"""

from __future__ import annotations

import copyreg
import enum
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from flor_ray import stored_names
from flor_ray.state.reachable import attributes

_NAMES = ("__getstate__", "__reduce__", "__reduce_ex__")
_NOWHERE = object()


def is_own(kind: type, is_users: Callable[[Any], bool]) -> bool:
    """Whether a class of the user's, or one of the user's that it is made from, says how its objects are pickled."""
    if issubclass(kind, enum.Enum) or not is_users(kind):
        return False
    if kind in copyreg.dispatch_table:
        return True
    said = (vars(base).get(name) for base in kind.__mro__ if is_users(base) for name in _NAMES)
    return any(one is not None and getattr(one, "__module__", None) != "dataclasses" for one in said)


def whole(obj: Any, pickles: Callable[[Any], bool]) -> Any:
    """What a pickler's `reducer_override` returns for such an object, with all attributes that can be pickled.

    Raises:
        PicklingError: an iterator is left out, which nobody can make anew where it is.
    """
    kind = type(obj)
    reduce = copyreg.dispatch_table.get(kind)
    reduced = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    if not isinstance(reduced, tuple) or len(reduced) > 5:  # a name, or a way of its own to set the state
        return reduced
    state = reduced[2] if len(reduced) > 2 else None
    carried: dict[str, Any] = {}
    for part in state if isinstance(state, tuple) else (state,):
        carried |= part if isinstance(part, dict) else {}
    rest = {name: held for name, held in attributes(obj).items() if carried.get(name, _NOWHERE) is not held}
    kept = {name: held for name, held in rest.items() if pickles(held)}
    for name in rest.keys() - kept.keys():
        if isinstance(rest[name], Iterator) and not isinstance(rest[name], io.IOBase):
            raise pickle.PicklingError(f"a {kind.__name__} is pickled without its {name}")
    if not kept:
        return reduced
    args, items = reduced[:2], (*reduced[3:5], None, None)[:2]
    return (*args, (state, kept), *items, stored_names.set_state_and_rest)
