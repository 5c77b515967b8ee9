"""Random states as they were when a run began: with its first call to us, before or after what draws from them.

    x = torch.randn(32, 4)
    flor.log("rows", len(x))      # new: a replay comes to it first, and nothing is put back here
    order = torch.randperm(32)
    flor.checkpointing(net)       # with this call the run began: what was recorded here is put back here

The recorded state belongs to the recorded call. A call that a statement makes which was added is never taken for it,
wherever it stands.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from flor_ray.analysis.source import read
from flor_ray.recording import script as scripts
from flor_ray.replaying.task import ReplayTask
from flor_ray.state import expected_names, random_states
from flor_ray.store.objects import Objects


class FirstCall:
    """The call with which the recorded run began. `text_of` gives a file's text as it was when the replay began."""

    def __init__(self, task: ReplayTask, text_of: Callable[[str], str]) -> None:
        self.is_made = False
        self._began: dict[str, object] = {}  # states of the generators that have not been seeded since
        self._adopted = bool(task.adopted)
        self._rng, self._state, self._place = task.rng, task.rng_state, task.first_call
        self._root = Path(task.root).resolve()
        self._text_of = text_of
        self._added = {str(self._root / path): marks.hindsight for path, marks in task.marks.items()}

    def is_this(self, frame: FrameType) -> bool:
        """Whether the call that is being made from `frame` is it."""
        if self._is_made_by_what_was_added(frame):
            return False
        return self._place is None or scripts.users_place(frame, self._root) == self._place

    def watch_seeding(self, warn: Callable[[str], None]) -> None:
        """From now on, warn if the script seeds a global generator from which it has drawn, until this call is made."""
        began = self._began = random_states.global_state()

        def seeds(name: str) -> None:
            before = began.pop(name, None)
            if self.is_made or before is None:
                return
            now = random_states.global_state()[name]
            if not random_states.same_global_state({name: before}, {name: now}) and self._has_called_something(
                sys._getframe(2)
            ):
                warn(
                    f"the script draws random numbers before it seeds the generator of {name}: what it made of them "
                    "may differ from the recorded run's"
                )

        random_states.watch_seeding(seeds)

    def _is_made_by_what_was_added(self, frame: FrameType | None) -> bool:
        while frame is not None:
            lines = self._added.get(os.path.realpath(frame.f_code.co_filename))
            if lines is not None and frame.f_lineno in lines:
                return True
            frame = frame.f_back
        return False

    def put_back(self, objects: Objects, frame: FrameType, warn: Callable[[str], None]) -> None:
        """It is being made: the global generators get the state that they had then."""
        self.is_made = True
        if self._rng is None and not self._state:
            return
        recorded = expected_names.random_state(self._state or objects.get(self._rng or ""))
        current = random_states.global_state()
        fresh = random_states.undrawn(recorded) & random_states.undrawn(current)  # another seed, and no harm done yet
        same = random_states.same_global_state(recorded, {name: current[name] for name in current.keys() - fresh})
        if not same and self._has_called_something(frame):
            warn(
                "the script draws random numbers before its first flor call, from a generator that it does not seed: "
                "data prepared before that may differ from the recorded run's"
            )
        random_states.set_global_state(recorded)

    def must_be_made(self, warn: Callable[[str], None]) -> None:
        """The script has come to where it must have been made."""
        if self._adopted and not self.is_made:
            now = random_states.global_state()
            for name, before in self._began.items():
                if name in now and not random_states.same_global_state({name: before}, {name: now[name]}):
                    warn(
                        f"the script draws random numbers of {name} before its epochs and does not seed that "
                        "generator: what it made of them, such as a split of its data, is not what the adopted run had "
                        "(the states of its checkpoint files are)"
                    )
        if not self.is_made and self._place is not None and self._rng is not None:
            warn(
                f"the flor call with which the recorded run began ({self._place[0]}:{self._place[1]}) was not made "
                "again, so random generators were not put into the state that they had there: values that depend on "
                "random numbers may differ"
            )
        self.is_made = True

    def _has_called_something(self, frame: FrameType) -> bool:
        """Whether the script, or a module of the user's, has called anything so far; other imports prepare no data."""
        main = scripts.main_frame(frame)
        if main is None:
            return True
        loaded = [getattr(m, "__file__", None) for name, m in list(sys.modules.items()) if name != "__main__"]
        files = [file for file in loaded if file and scripts.users_file(file, self._root) is not None]
        before = {main.f_code.co_filename: main.f_lineno, **dict.fromkeys(files, sys.maxsize)}
        return any(self._calls(filename, line) for filename, line in before.items())

    def _calls(self, filename: str, line: int) -> bool:
        """Whether the top level of a file calls something before a line."""
        tree = read(self._text_of(filename)).tree
        if tree is None:
            return True
        code = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        before = [s for s in tree.body if (s.end_lineno or s.lineno) < line and not isinstance(s, code)]
        return any(isinstance(node, ast.Call) for statement in before for node in ast.walk(statement))
