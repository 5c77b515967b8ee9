"""What one file says of its own order of running: its functions and classes, what each does, and what it mentions.

    flow      a function's statements as a tree of what may happen: done, chosen, repeated, recorded, tried, left
    refs      what a call or a mention means, as far as this file tells: a function, a class, something imported, or
              just a name that methods may have
    loose     functions mentioned other than to be called now, and why nobody knows when they run then

Pure: text in, values out, which hold no syntax trees: hundreds of files are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ref:
    """What a call or a mention means. `index` is of a unit or a class of the file; `names` lead to a member."""

    kind: str  # "unit", "class", "member" (of a module), "method" (of any class), "maker" (any class)
    index: int = 0
    module: str = ""
    level: int = 0  # dots of a relative import
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call in a statement, and what it may run."""

    refs: tuple[Ref, ...]
    line: int
    optional: bool  # in a part of an expression that may be left out
    awaited: bool
    repeated: bool = False  # in a part that may come many times


@dataclass(frozen=True, slots=True)
class Mention:
    """A function, class, module or method that is mentioned as a value, and so may be called whenever."""

    ref: Ref
    line: int
    why: str
    argument: str = ""  # of a Trainer, that it is given as


@dataclass(frozen=True, slots=True)
class Load:
    """A call that runs code which is found by a name, or made of text."""

    line: int
    words: frozenset[str]  # in the strings that it is given
    is_text: bool  # it may use all that is known where it stands


@dataclass(frozen=True, slots=True)
class Log:
    """A call of flor.log."""

    feature: str | None
    statement: int
    line: int  # first line of its statement
    lazy: str  # "a lambda", ...: it does not run with its statement
    is_sure: bool  # it runs whenever its function is called


@dataclass(slots=True)
class StatementReads:
    """A statement's place, and the names that it reads."""

    unit: int
    line: int
    reads: set[str] = field(default_factory=set)  # names that are not the function's own
    own_reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    in_recorded: bool = False  # lexically in a recorded loop of its function


@dataclass(frozen=True, slots=True)
class Do:
    """A statement runs, with the calls and imports in it, in this order."""

    statement: int
    calls: tuple[CallSite, ...] = ()
    imports: tuple[Ref, ...] = ()
    arms: bool = False
    trains: bool = False  # it calls a Trainer, which runs the main loop if it is one of a library's


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several blocks runs; or none, if they are not all that there is (`is_exhaustive`)."""

    blocks: tuple[Block, ...]
    is_exhaustive: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop that is not recorded: its body runs never, once or many times."""

    body: Block
    orelse: Block
    around_iteration: bool  # a `while` whose body is recorded with flor.iteration


@dataclass(frozen=True, slots=True)
class Child:
    """A statement of a recorded loop's own body."""

    block: Block
    end_line: int
    is_talk: bool  # nothing but a log or a print of what is there


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded loop, or an iteration of one."""

    line: int
    children: tuple[Child, ...]
    orelse: Block
    is_iteration: bool
    is_lonely: bool  # a flor.iteration that no loop of its function is around
    is_driven: bool = False  # it stands for the loop that a library's Trainer runs

    @property
    def body(self) -> Block:
        """All that an iteration runs."""
        return tuple(step for child in self.children for step in child.block)


@dataclass(frozen=True, slots=True)
class Try:
    """A `try`, or a `with` that swallows exceptions: its body may stop anywhere."""

    body: Block
    handlers: tuple[Block, ...]
    orelse: Block
    final: Block


@dataclass(frozen=True, slots=True)
class Jump:
    """What leaves a block before its end."""

    kind: str  # "return", "raise", "break", "continue"


Step = Do | Branch | Repeat | Record | Try | Jump
Block = tuple[Step, ...]


@dataclass(slots=True)
class Unit:
    """A function, or (number 0) what stands at the file's top level."""

    name: str
    line: int
    owner: int | None  # class that it stands in directly
    is_lazy: str = ""  # "a generator", "async"
    odd_decorator: str = ""  # one that may register the function somewhere, as it is written
    is_property: bool = False
    flow: Block = ()


@dataclass(slots=True)
class Class:
    """A class of the file: what it derives from, and its functions by name."""

    name: str
    bases: tuple[tuple[str, tuple[Ref, ...]], ...] = ()  # as written, and what it means
    units: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Outline:
    """All that one file says of its order of running."""

    units: list[Unit] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
    statements: list[StatementReads] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    bindings: dict[str, tuple[Ref | None, ...]] = field(default_factory=dict)  # of the module's scope
    stars: tuple[Ref, ...] = ()
    imported: list[Ref] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)  # lines that look up an attribute whose name is computed
    loads: list[Load] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    unreadable: str = ""
    odd_loops: tuple[int, ...] = ()  # lines of recorded loops that are not the head of a `for` or a `with`


def steps(block: Block) -> Iterator[object]:
    """All steps of a block and of what is in them."""
    todo = list(reversed(block))
    while todo:
        step = todo.pop()
        yield step
        for inner in reversed(blocks_of(step)):
            todo.extend(reversed(inner))


def blocks_of(step: object) -> tuple[Block, ...]:
    """The blocks that a step consists of."""
    if isinstance(step, Branch):
        return step.blocks
    if isinstance(step, Repeat | Record):
        return step.body, step.orelse
    if isinstance(step, Try):
        return step.body, *step.handlers, step.orelse, step.final
    return ()
