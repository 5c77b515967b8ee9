"""Unbinding variables of a running function, so that reading one is loud on every Python.

    Python 3.11   the interpreter can do it
    from 3.12     a read is compiled without a check where the variable was seen to be bound: the interpreter refuses.
                  The variable is given UNBOUND, and the function's code is watched (`sys.monitoring`): an instruction
                  that would load UNBOUND raises UnboundLocalError instead. What a cell holds is always checked, so a
                  variable that inner functions share is really unbound.

What may live here: frames, code and cells. That a variable holds UNBOUND is told by `local_variables` alone.
"""

from __future__ import annotations

import ctypes
import dis
import gc
import sys
from collections.abc import Iterable, Mapping
from types import CellType, CodeType, FrameType
from typing import Any, NoReturn

from flor_ray.errors import ReplayError

_WHY = "the checkpoint that was put back does not hold it"


class _Unbound:
    """No value. What comes upon it past the watch (`locals()`, `eval`) cannot use it either."""

    def _refuse(self, *given: object) -> NoReturn:
        raise UnboundLocalError(f"a local variable cannot be read: {_WHY}")

    __getattribute__ = __bool__ = __eq__ = __ne__ = __hash__ = _refuse
    __repr__ = __str__ = __format__ = __reduce_ex__ = _refuse


UNBOUND = _Unbound()


def local_variables(frame: FrameType) -> Mapping[str, Any]:
    """The frame's local variables that are bound; a module's globals."""
    local = frame.f_locals
    if id(frame.f_code) not in _watched:
        return local
    return {name: value for name, value in local.items() if value is not UNBOUND}


def bind(frame: FrameType, values: Mapping[str, object]) -> None:
    """Bind variables of a function's frame."""
    local = frame.f_locals
    local.update(values)
    _write_through(frame, clear=False)


def unbind(frame: FrameType, names: Iterable[str]) -> None:
    """Unbind variables of a function's frame: reading one raises UnboundLocalError until it is bound again.

    Raises:
        ReplayError: other tools of this process leave no room for a watch.
    """
    code, local = frame.f_code, frame.f_locals
    bound = {name for name in names if name in local}
    if sys.version_info < (3, 12):
        for name in bound:
            del local[name]
        _write_through(frame, clear=True)
        return
    in_cells = bound & {*code.co_cellvars, *code.co_freevars}
    for name in in_cells:
        mark = object()
        bind(frame, {name: mark})
        del _cell_of(mark).cell_contents
    if watched := bound - in_cells:
        _watch(code, watched)
        bind(frame, dict.fromkeys(watched, UNBOUND))


def _write_through(frame: FrameType, clear: bool) -> None:
    """What is in `f_locals` becomes what the function sees; with `clear`, so does what is missing there."""
    if sys.version_info < (3, 13):  # from then on it is no copy (PEP 667)
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(clear))


def _cell_of(value: object) -> CellType:
    """The cell that holds a value which nothing else holds. Frames do not show theirs."""
    return next(holder for holder in gc.get_referrers(value) if isinstance(holder, CellType))


# --- the watch, from Python 3.12 on ---------------------------------------------------------------------------------

_monitoring: Any = getattr(sys, "monitoring", None)
_tool: int | None = None
# By id of a code object, which is kept: the variables that are watched, and which of them an instruction loads.
_watched: dict[int, tuple[CodeType, set[str], dict[int, set[str]]]] = {}


def _watch(code: CodeType, names: Iterable[str]) -> None:
    tool = _own_tool()
    watched = {*names, *(_watched[id(code)][1] if id(code) in _watched else ())}
    loads = {i.offset: found for i in dis.get_instructions(code) if (found := _loaded(i) & watched)}
    _watched[id(code)] = code, watched, loads
    for events in (_monitoring.events.NO_EVENTS, _monitoring.events.INSTRUCTION):  # anew: some have been disabled
        _monitoring.set_local_events(tool, code, events)


def _own_tool() -> int:
    global _tool
    if _tool is None:
        _tool = next((number for number in range(5, -1, -1) if _monitoring.get_tool(number) is None), None)
        if _tool is None:
            raise ReplayError(
                "A variable cannot be unbound: all tool ids of sys.monitoring are taken. Replay without debuggers, "
                "profilers and coverage."
            )
        _monitoring.use_tool_id(_tool, "flor_ray")
        _monitoring.register_callback(_tool, _monitoring.events.INSTRUCTION, _on_instruction)
    return _tool


def _on_instruction(code: CodeType, offset: int) -> object:
    """Before each instruction of a watched function; of those that load no watched variable only once."""
    names = _watched[id(code)][2].get(offset)
    if names is None:
        return _monitoring.DISABLE
    local = sys._getframe(1).f_locals
    for name in names:
        if local.get(name) is UNBOUND:
            raise UnboundLocalError(f"cannot access local variable {name!r}: {_WHY}", name=name)
    return None


def _loaded(instruction: dis.Instruction) -> set[str]:
    """Variables without which an instruction cannot do what it does."""
    operation, argument = instruction.opname, instruction.argval
    if (
        instruction.opcode not in dis.haslocal or operation == "LOAD_FAST_AND_CLEAR"
    ):  # puts by what a comprehension hides
        return set()
    names = argument if isinstance(argument, tuple) else (argument,)  # from 3.13 on, one may be for two variables
    if operation.startswith("STORE_FAST"):
        return set(names[1:]) - {names[0]} if "LOAD" in operation else set()
    return set(names)
