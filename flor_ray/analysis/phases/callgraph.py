"""Who may call whom in a version's files, from what their outlines say; and who may be called by nobody knows whom.

    script ── imports ──> files ── calls, by name ──> functions, initialisers, every method of that name
                            └─ mentions as values, lookups by name, libraries' base classes ──> loose: any time

A module is looked for beside the script first, then from the repository's root, then wherever a folder ends like it
(`sys.path` may have been changed). What is found nowhere is a library: it calls only what it is given.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from flor_ray.analysis.lending import read_all
from flor_ray.analysis.phases import trainers
from flor_ray.analysis.phases.outline import Block, CallSite, Child, Class, Do, Outline, Record, Ref, Unit, steps
from flor_ray.analysis.phases.reader import outline_of
from flor_ray.analysis.source import Source

UnitId = tuple[str, int]  # path, and number in the file's outline; 0 is its top level

_INITIALISERS = ("__init__", "__post_init__", "__new__")
_PLAIN_BASES = frozenset(
    {
        *("object", "ABC", "Protocol", "Generic", "Enum", "IntEnum", "StrEnum", "NamedTuple", "TypedDict"),
        *("Dataset", "IterableDataset", "Sampler", "BatchSampler", "Exception", "BaseException"),
    }
)
"""Classes of libraries that call no method of theirs by any name but Python's own."""
_MODULES = frozenset({"Module", "ModuleList", "ModuleDict", "Sequential"})
_MODULE_METHODS = frozenset(
    {
        *("forward", "train", "eval", "apply", "to", "cpu", "cuda", "float", "double", "half", "type", "bfloat16"),
        *("extra_repr", "parameters", "named_parameters", "buffers", "named_buffers", "children", "named_children"),
        *(
            "modules",
            "named_modules",
            "state_dict",
            "load_state_dict",
            "zero_grad",
            "requires_grad_",
            "register_buffer",
        ),
        *("register_parameter", "add_module", "register_module", "get_parameter", "get_buffer", "get_submodule"),
        *("share_memory", "compile", "append", "extend", "insert", "items", "keys", "values", "update", "pop"),
        *("get_extra_state", "set_extra_state", "to_empty", "xpu", "ipu", "set_submodule", "clear"),
    }
)
"""What torch calls by these names on a module that it is given."""
_PROTOCOLS = frozenset(
    {
        *("write", "writelines", "flush", "read", "readline", "readlines", "close", "seek", "tell", "fileno", "isatty"),
        *("keys", "items", "values", "get", "send", "throw", "emit", "handle", "format"),
        *("state_dict", "load_state_dict", "zero_grad", "fit_transform"),
        *("score", "get_params", "set_params", "default", "acquire", "release"),
    }
)
"""Names by which libraries call whatever object they are given."""


class Graph:
    """The call graph of what a script may reach."""

    def __init__(self, script: str, files: Mapping[str, str]) -> None:
        self.script, self._files = script, files
        sources = read_all(files)  # not kept: a history has hundreds of graphs, and a source has its tree
        self._stems = {_stem(path): path for path in sorted(files)}
        self._folders = {folder for path in files for folder in _folders(path)}
        self._resolved: dict[tuple[str, Ref], tuple[Target, ...]] = {}
        self.outlines: dict[str, Outline] = {}
        self._loaded: dict[str, str] = {}  # file that unknown code may run -> where
        self._evaluated: dict[str, int] = {}  # file -> line that runs unknown text
        self._reach_files(sources)
        self.problem = next((f"{p} {o.unreadable}" for p, o in self.outlines.items() if o.unreadable), "")
        self._methods: dict[str, list[UnitId]] = {}
        self.properties: dict[str, list[UnitId]] = {}
        self._inner_classes: dict[str, list[tuple[str, int]]] = {}
        self._collect_methods()
        self._edges: dict[UnitId, tuple[UnitId, ...]] = {}
        self._done: dict[tuple[str, int], tuple[UnitId, ...]] = {}
        self.loose: dict[UnitId, str] = {}  # functions that may run at any time -> why
        self._hooks: dict[str, list[UnitId]] = {}  # what a library's Trainer calls, by when it does
        self._is_driven = self._asks_for_trainers(sources)
        self._at_ends = self._is_driven and trainers.evaluates_at_ends(self._texts())
        self._find_loose()
        self._looping = self._reaching(lambda path, step: isinstance(step, Record))
        self.recording = self._looping | self._reaching(self._trains) if self._is_driven else self._looping
        self.changing = self.recording | self._reaching(lambda path, step: isinstance(step, Do) and step.arms)

    def name_of(self, unit: UnitId) -> str:
        """`helper.Trainer.fit`; functions of the script itself without its name."""
        path, number = unit
        outline = self.outlines[path]
        parts = [] if path == self.script else [posixpath.basename(_stem(path))]
        owner = outline.units[number].owner
        parts += [outline.classes[owner].name] if owner is not None else []
        return ".".join([*parts, outline.units[number].name]) if number else path

    def called(self, path: str, call: CallSite) -> tuple[UnitId, ...]:
        """What a call that stands in the file `path` may run."""
        return tuple(dict.fromkeys(unit for ref in call.refs for unit in self._units(path, ref)))

    def imported(self, path: str, ref: Ref) -> tuple[UnitId, ...]:
        """Top levels of the files that an import may run."""
        return tuple((found, 0) for found in self._imported_files(path, ref) if found in self.outlines)

    def callees(self, unit: UnitId) -> tuple[UnitId, ...]:
        """All that a function may call."""
        if unit not in self._edges:
            path, number = unit
            self._edges[unit] = tuple(self.callees_of(path, self.outlines[path].units[number].flow))
        return self._edges[unit]

    def callees_of(self, path: str, block: Block) -> Iterator[UnitId]:
        """All that a block of a file may call."""
        for step in steps(block):
            if isinstance(step, Do):
                yield from self.done_by(path, step)

    def done_by(self, path: str, step: Do) -> tuple[UnitId, ...]:
        """What one statement may run."""
        key = path, step.statement
        if key not in self._done:
            self._done[key] = tuple(self._done_by(path, step))
        return self._done[key]

    def _done_by(self, path: str, step: Do) -> Iterator[UnitId]:
        for ref in step.imports:
            yield from self.imported(path, ref)
        for call in step.calls:
            yield from self.called(path, call)
        yield from self.read_by(path, step)

    def read_by(self, path: str, step: Do) -> Iterator[UnitId]:
        """Properties that a statement may read."""
        for name in sorted(self.outlines[path].statements[step.statement].attributes & self.properties.keys()):
            yield from self.properties[name]

    def closure(self, units: Iterable[UnitId]) -> set[UnitId]:
        """These functions, and all that they may come to."""
        found, todo = set(units), list(units)
        while todo:
            for callee in self.callees(todo.pop()):
                if callee not in found:
                    found.add(callee)
                    todo.append(callee)
        return found

    def recursive(self) -> UnitId | None:
        """A function that may come to a recorded loop, and calls itself by a detour or directly; None if none does."""
        for unit in sorted(self.recording):
            if unit in self.closure(self.callees(unit)):
                return unit
        return None

    # --- loops that a library runs ----------------------------------------------------------------------------------

    def _texts(self) -> list[str]:
        return [self._files[path] for path in sorted(self.outlines)]

    def _asks_for_trainers(self, sources: Mapping[str, Source]) -> bool:
        """Whether a Trainer's epochs are recorded as a loop."""
        callbacks = {"HuggingFaceCallback", "LightningCallback"}
        return any(
            outline.names & callbacks or any(call.function == "autolog" for call in sources[path].calls)
            for path, outline in self.outlines.items()
        )

    def _trains(self, path: str, step: object) -> bool:
        if not (self._is_driven and isinstance(step, Do) and step.trains):
            return False
        return self._looping.isdisjoint(self.done_by(path, step))  # else a Trainer of the user's own runs the loop

    def training(self, path: str, step: Do) -> tuple[Do, Record, Do] | None:
        """What a statement stands for that lets a library's Trainer train: before, in and after its loop; None: it does
        nothing of the kind."""
        if not self._trains(path, step):
            return None
        line = self.outlines[path].statements[step.statement].line

        def calls(*phases: str) -> Do:
            return Do(step.statement, tuple(CallSite((Ref(phase),), line, True, False) for phase in phases))

        head, tail = calls(trainers.HEAD), calls(trainers.EVALUATION, trainers.TAIL)
        inner = calls(trainers.INNER) if self._at_ends else calls(trainers.INNER, trainers.EVALUATION)
        nested = Record(line, (Child((inner,), line, False),), (), False, False, True)
        epoch = tuple(Child((part,), line, False) for part in (head, nested, tail))
        first = (trainers.EVALUATION,) if trainers.evaluates_first(self._texts()) else ()
        return calls(trainers.BEFORE, *first), Record(line, epoch, (), False, False, True), calls(trainers.AFTER)

    def overrides_training(self) -> UnitId | None:
        """A method of the user's that takes the place of a library's, which runs the loop; None: there is none."""
        for path, outline in self.outlines.items():
            for number, made in enumerate(outline.classes):
                if any(label.endswith("Trainer") for label in self._libraries(path, number)):
                    for name in sorted(trainers.TRAINS & made.units.keys()):
                        return path, made.units[name][0]
        return None

    # --- files ----------------------------------------------------------------------------------------------------

    def _reach_files(self, sources: Mapping[str, Source]) -> None:
        todo = [self.script] if self.script in self._files else []
        while todo:
            path = todo.pop()
            if path in self.outlines:
                continue
            is_main = path == self.script or path in self._loaded
            outline = outline_of(self._files[path], is_main, sources[path].borrowed or frozenset())
            self.outlines[path] = outline
            for ref in outline.imported:
                todo += self._imported_files(path, ref)
            for load in outline.loads:
                others = [other for other in self._loadable(load.words) if other != path]
                todo += others
                for other in others:
                    self._loaded.setdefault(other, f"{path}:{load.line}")
                if load.is_text and not others:
                    self._evaluated[path] = load.line

    def _loadable(self, words: frozenset[str]) -> list[str]:
        """Files that code may mean which has these words in its strings; without words, all but the script, which
        runs already: it would be meant by its name."""
        if not words:
            return sorted(self._files.keys() - {self.script})
        return [path for path in sorted(self._files) if words & set(_stem(path).split("/"))]

    def _prefixes(self, path: str, module: str, level: int) -> list[str]:
        """Places of a module: paths without `.py`, of a file or a folder."""
        inner = module.replace(".", "/")
        if level:
            folder = path
            for _ in range(level):
                folder = posixpath.dirname(folder)
            return [prefix for prefix in [posixpath.join(folder, inner) if inner else folder] if self._exists(prefix)]
        bases = dict.fromkeys((posixpath.dirname(self.script), ""))
        found = [prefix for base in bases if self._exists(prefix := posixpath.join(base, inner))]
        top = module.split(".")[0]
        if not found and inner and top not in sys.stdlib_module_names:
            known = {*self._stems, *(stem.removesuffix("/__init__") for stem in self._stems)}
            found = sorted(stem for stem in known if stem.endswith(f"/{inner}"))
        return found

    def _exists(self, prefix: str) -> bool:
        return prefix in self._stems or prefix in self._folders

    def _file(self, prefix: str) -> str | None:
        return self._stems.get(posixpath.join(prefix, "__init__")) or self._stems.get(prefix)

    def _imported_files(self, path: str, ref: Ref) -> list[str]:
        found: list[str] = []
        for prefix in self._prefixes(path, ref.module, ref.level):
            depth = ref.module.count(".") + 1 if ref.module else 0
            parts = prefix.split("/")
            around = ["/".join(parts[: len(parts) - up]) for up in range(max(depth - 1, 0), -1, -1)]
            inner = [posixpath.join(prefix, name) for name in ref.names[:1]]
            found += [file for each in (*around, *inner) if (file := self._file(each)) is not None]
        return list(dict.fromkeys(found))

    # --- what refs mean -------------------------------------------------------------------------------------------

    def resolve(self, path: str, ref: Ref) -> tuple[Target, ...]:
        """What a mention in a file means among all files: functions, classes, modules, or just a name."""
        key = path, ref
        if key not in self._resolved:
            self._resolved[key] = ()  # an import that goes in a circle
            self._resolved[key] = tuple(dict.fromkeys(self._resolve(path, ref)))
        return self._resolved[key]

    def _resolve(self, path: str, ref: Ref) -> Iterator[Target]:
        if ref.kind in ("unit", "class"):
            is_inner = ref.kind == "class" and bool(ref.names)
            yield ("method", ref.names[-1], 0) if is_inner else (ref.kind, path, ref.index)
        elif ref.kind == "method":
            yield "method", ref.names[-1] if ref.names else "", 0
        elif ref.kind == "member":
            for prefix in self._prefixes(path, ref.module, ref.level):
                yield from self._member(prefix, ref.names)
        else:
            yield ref.kind, path, 0

    def _member(self, prefix: str, names: tuple[str, ...]) -> Iterator[Target]:
        if not names:
            yield "module", prefix, 0
            return
        name, rest = names[0], names[1:]
        file = self._file(prefix)
        outline = self.outlines.get(file) if file is not None else None
        is_known = False
        if file is not None and outline is not None:
            for bound in outline.bindings.get(name, ()):
                is_known = True
                if bound is None:
                    yield "named", names[-1], 0
                elif bound.kind == "member":
                    yield from self.resolve(file, Ref("member", 0, bound.module, bound.level, (*bound.names, *rest)))
                elif rest:
                    yield "method", rest[-1], 0
                else:
                    yield bound.kind, file, bound.index
            for star in outline.stars if not is_known else ():
                for found in self.resolve(file, Ref("member", 0, star.module, star.level, names)):
                    is_known = True
                    yield found
        inner = posixpath.join(prefix, name)
        if self._exists(inner):
            is_known = True
            yield from self._member(inner, rest)
        if not is_known:
            yield "named", names[-1], 0

    def _units(self, path: str, ref: Ref) -> Iterator[UnitId]:
        """Functions that a call of this runs."""
        for kind, where, index in self.resolve(path, ref):
            if kind == "unit":
                yield where, index
            elif kind == "class":
                yield from self._initialisers(where, index)
            elif kind == "method":
                yield from self._methods.get(where, ())
                for other, number in self._inner_classes.get(where, ()):
                    yield from self._initialisers(other, number)
            elif kind == "maker":
                for other, outline in self.outlines.items():
                    for number in range(len(outline.classes)):
                        yield from self._initialisers(other, number)
            elif kind == "named":
                yield from self._all_named(where)
            elif kind in self._hooks:
                yield from self._hooks[kind]

    def _all_named(self, name: str) -> Iterator[UnitId]:
        for path, outline in self.outlines.items():
            yield from ((path, n) for n, unit in enumerate(outline.units) if n and unit.name == name)
            for number, made in enumerate(outline.classes):
                if made.name == name:
                    yield from self._initialisers(path, number)

    def _initialisers(self, path: str, index: int) -> Iterator[UnitId]:
        for where, made in self._line(path, index):
            for name in _INITIALISERS:
                yield from ((where, unit) for unit in made.units.get(name, ()))

    def _line(self, path: str, index: int) -> list[tuple[str, Class]]:
        """A class and those that it derives from."""
        found, todo = dict[tuple[str, int], Class](), [(path, index)]
        while todo:
            where, number = key = todo.pop()
            if key not in found:
                found[key] = self.outlines[where].classes[number]
                for _, refs in found[key].bases:
                    todo += [(p, n) for ref in refs for kind, p, n in self.resolve(where, ref) if kind == "class"]
        return [(where, made) for (where, _), made in found.items()]

    def _collect_methods(self) -> None:
        for path, outline in self.outlines.items():
            for number, made in enumerate(outline.classes):
                self._inner_classes.setdefault(made.name, []).append((path, number))
                for name, units in made.units.items():
                    self._methods.setdefault(name, []).extend((path, unit) for unit in units)
            for number, unit in enumerate(outline.units):
                if unit.is_property:
                    self.properties.setdefault(unit.name, []).append((path, number))

    # --- functions that may run at any time -----------------------------------------------------------------------

    def _find_loose(self) -> None:
        """The first reason that is found for a function is the one that users are told: the order is that of weight."""
        for path, outline in self.outlines.items():
            self._loosen_mentioned(path, outline)
            self._loosen_odd(path, outline)
            for number in range(len(outline.classes)):
                self._loosen_methods(path, number)
        for path, line in self._evaluated.items():
            for unit in self._handed_out(path, Ref("file")):
                self._loosen(unit, f"may be called by text that is evaluated ({path}:{line})")
        for path, where in self._loaded.items():
            self._loosen_loaded(path, where)
        for path, outline in self.outlines.items():
            for each in outline.units:
                self._loosen_not_awaited(path, each)

    def _loosen_mentioned(self, path: str, outline: Outline) -> None:
        """Functions that a file passes around as values, or looks up by a name that is computed."""
        for mention in outline.mentions:
            if self._is_driven and mention.argument:
                for phase in trainers.HANDED[mention.argument]:
                    self._hooks.setdefault(phase, []).extend(self._handed_out(path, mention.ref))
                continue
            for unit in self._handed_out(path, mention.ref):
                if not self.outlines[unit[0]].units[unit[1]].is_property:  # reading one is calling it
                    self._loosen(unit, f"{mention.why} ({path}:{mention.line})")
        for line in outline.searches:
            for units in self._methods.values():
                for unit in units:
                    self._loosen(unit, f"may be looked up by a name that is computed ({path}:{line})")

    def _loosen_odd(self, path: str, outline: Outline) -> None:
        """Generators, and functions with decorators that are not known to leave them alone."""
        for number, unit in enumerate(outline.units):
            if unit.is_lazy and unit.is_lazy != "async":
                self._loosen((path, number), f"is {unit.is_lazy}, which runs while something takes from it")
            if unit.odd_decorator:
                self._loosen((path, number), f"is handed to the decorator `{unit.odd_decorator}`")

    def _loosen_loaded(self, path: str, where: str) -> None:
        """All that is in a file which unknown code may load, and all that this file may use."""
        for number in range(len(self.outlines[path].units)):
            self._loosen((path, number), f"is in a file that may be loaded at {where}")
        for name in sorted(self.outlines[path].names):
            for unit in self._all_named(name):
                self._loosen(unit, f"may be used by {path}, which is loaded at {where}")

    def _loosen_not_awaited(self, path: str, caller: Unit) -> None:
        """Coroutines that a function makes, and leaves to others to run."""
        done = (step for step in steps(caller.flow) if isinstance(step, Do))
        for call in (call for step in done for call in step.calls if not call.awaited):
            for where, number in self.called(path, call):
                if self.outlines[where].units[number].is_lazy == "async":
                    why = f"is async and not awaited where it is called ({path}:{call.line})"
                    self._loosen((where, number), why)

    def _handed_out(self, path: str, ref: Ref) -> Iterator[UnitId]:
        for kind, where, _ in self.resolve(path, ref):
            file = where if kind == "file" else self._file(where) if kind == "module" else None
            if file is not None and file in self.outlines:
                yield from ((file, number) for number in range(1, len(self.outlines[file].units)))
                for bound in self.outlines[file].bindings.values() if kind == "file" else ():
                    for each in bound:
                        yield from self._units(file, each) if each is not None else ()
            elif kind == "method" and not where:
                for units in self._methods.values():
                    yield from units
        yield from self._units(path, ref)

    def _loosen(self, unit: UnitId, why: str) -> None:
        self.loose.setdefault(unit, why)

    def _loosen_methods(self, path: str, index: int) -> None:
        made, libraries = self.outlines[path].classes[index], self._libraries(path, index)
        for name, units in made.units.items():
            if self._is_driven and any(map(trainers.is_base, libraries)):
                for phase in trainers.PHASES.get(name, ()):
                    self._hooks.setdefault(phase, []).extend((path, unit) for unit in units)
            why = self._why_called(name, libraries)
            for unit in units if why else ():
                self._loosen((path, unit), f"{why}")

    def _libraries(self, path: str, index: int) -> list[str]:
        """Classes of libraries that a class derives from, as they are written."""
        return [
            base
            for where, each in self._line(path, index)
            for base, refs in each.bases
            if not any(kind == "class" for ref in refs for kind, _, _ in self.resolve(where, ref))
        ]

    def _why_called(self, name: str, libraries: list[str]) -> str:
        """Why a method may be called by nobody that can be seen; "" if it is not."""
        if name in _INITIALISERS:
            return ""
        if name.startswith("__") and name.endswith("__"):
            return "is called by Python itself"
        if self._is_driven and name in trainers.PHASES and all(map(trainers.is_base, libraries)) and libraries:
            return ""
        for base in libraries:
            last = base.split(".")[-1]
            if self._is_driven and trainers.is_base(last) and not trainers.may_be_called_anytime(last, name):
                continue
            if last in _MODULES and name in _MODULE_METHODS:
                return f"is called by `{base}`, which its class derives from"
            if last not in _PLAIN_BASES | _MODULES and not last.endswith(("Error", "Exception", "Warning")):
                return f"may be called by `{base}`, which its class derives from"
        if name in _PROTOCOLS or name.startswith("on_"):
            return "has a name by which libraries call what they are given"
        return ""

    def _reaching(self, is_it: Callable[[str, object], bool]) -> set[UnitId]:
        """Functions that may come to such a step, themselves or through what they call."""
        callers: dict[UnitId, list[UnitId]] = {}
        todo: list[UnitId] = []
        for path, outline in self.outlines.items():
            for number, unit in enumerate(outline.units):
                for callee in self.callees((path, number)):
                    callers.setdefault(callee, []).append((path, number))
                if any(is_it(path, step) for step in steps(unit.flow)):
                    todo.append((path, number))
        found = set(todo)
        while todo:
            for caller in callers.get(todo.pop(), ()):
                if caller not in found:
                    found.add(caller)
                    todo.append(caller)
        return found


Target = tuple[str, str, int]  # kind, path (or name), index


def _stem(path: str) -> str:
    return path.removesuffix(".py")


def _folders(path: str) -> Iterator[str]:
    folder = posixpath.dirname(path)
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""
