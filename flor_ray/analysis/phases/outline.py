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
class OutlineCall:
    """A call that a statement makes, and what it may run."""

    refs: tuple[Ref, ...]
    line: int
    optional: bool  # in a part of an expression that may be left out, or comes many times
    awaited: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """A function, class, module or method that is mentioned as a value, and so may be called whenever."""

    ref: Ref
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Load:
    """A call that runs code which is found by a name, or made of text."""

    line: int
    words: frozenset[str]  # in the strings that it is given
    is_text: bool  # it may use all that is known where it stands


@dataclass(frozen=True, slots=True)
class Log:
    """A call of `flor.log`."""

    feature: str | None
    statement: int
    line: int  # first line of its statement
    lazy: str  # "a lambda", ...: it does not run with its statement
    is_sure: bool  # it runs whenever its function is called


@dataclass(slots=True)
class OutlineStatement:
    """What one statement mentions. Statements and units are known by their numbers in the outline."""

    unit: int
    line: int
    reads: set[str] = field(default_factory=set)  # names that are not the function's own
    own_reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    in_recorded: bool = False  # lexically in a recorded loop of its function


@dataclass(frozen=True, slots=True)
class Do:
    """A statement runs: what it calls and imports. `arms`: it calls `checkpointing`."""

    statement: int
    calls: tuple[OutlineCall, ...] = ()
    imports: tuple[Ref, ...] = ()
    arms: bool = False


@dataclass(frozen=True, slots=True)
class Branches:
    """One of several blocks runs; perhaps none, if they are not exhaustive."""

    blocks: tuple[Block, ...]
    is_exhaustive: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop that is not recorded."""

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
    """A recorded loop, with the statements of its body one by one."""

    line: int
    children: tuple[Child, ...]
    orelse: Block
    is_iteration: bool
    is_lonely: bool  # a flor.iteration that no loop of its function is around

    @property
    def body(self) -> Block:
        """All that one iteration runs."""
        return tuple(step for child in self.children for step in child.block)


@dataclass(frozen=True, slots=True)
class Try:
    """A `try` with its handlers, `else` and `finally`."""

    body: Block
    handlers: tuple[Block, ...]
    orelse: Block
    final: Block


@dataclass(frozen=True, slots=True)
class Jump:
    """The block is left here."""

    kind: str  # "return", "raise", "break", "continue"


Step = Do | Branches | Repeat | Record | Try | Jump
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
    """A class: what it derives from, and the units that are its methods, by name."""

    name: str
    bases: tuple[tuple[str, tuple[Ref, ...]], ...] = ()  # as written, and what it means
    units: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Outline:
    """All that one file says of its order of running. Unit 0 is its top level."""

    units: list[Unit] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
    statements: list[OutlineStatement] = field(default_factory=list)
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
    """The blocks inside one step."""
    if isinstance(step, Branches):
        return step.blocks
    if isinstance(step, Repeat | Record):
        return step.body, step.orelse
    if isinstance(step, Try):
        return step.body, *step.handlers, step.orelse, step.final
    return ()
