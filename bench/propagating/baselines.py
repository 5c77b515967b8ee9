"""What propagation is compared with: `git merge-file`, difflib over statements, and FlorDB's hlast.

All of them answer the same question as ours, see `propagating.cases`. FlorDB lives in an environment of its own, which
is made on demand and kept in the user's cache; it is talked to by JSON lines and killed when a case takes too long.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from propagating.cases import Answer
from propagating.scoring import parses

# --- git ----------------------------------------------------------------------------------------------------------


def git_merge_file(newer: str, older: str, line: int) -> Answer:
    """A three-way merge of lines: the newer source, and the older one, against the newer one without the statement."""
    statement = statement_at(newer, line)
    if statement is None:
        return Answer(None, why="no statement there")
    lines = newer.splitlines(keepends=True)
    base = "".join(lines[: statement.lineno - 1] + lines[statement.end_lineno :])
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        paths = [Path(folder) / name for name in ("older.py", "base.py", "newer.py")]
        for path, text in zip(paths, (older, base, newer), strict=True):
            path.write_bytes(text.encode())
        command = ["git", "merge-file", "--stdout", "--quiet", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return Answer(None, why="conflict")
    merged = done.stdout.decode()
    return Answer(None, 1.0, "already there", True) if merged == older else Answer(merged, 1.0, "merged")


def statement_at(source: str, line: int) -> ast.stmt | None:
    """The outermost statement that begins on a line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and node.lineno == line:
            return node
    return None


# --- difflib ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A statement in the row of all statements of a source, compound ones by their headers."""

    node: ast.stmt
    text: str
    shape: str  # the text with the names taken out
    names: tuple[str, ...]
    block: list[ast.stmt]
    parent: ast.stmt | None


def difflib_statements(newer: str, older: str, line: int) -> Answer:
    """Two rows of statements are aligned by difflib; names follow the majority of what the aligned ones say.

    The statement goes behind the partner of the one before it, else before the partner of the one behind it, else to
    the start of the partner of the block.
    """
    ours, theirs = _rows(newer), _rows(older)
    chosen = next((i for i, row in enumerate(ours) if row.node.lineno == line), None)
    if chosen is None:
        return Answer(None, why="no statement there")
    pairs = _aligned(ours, theirs)
    row = ours[chosen]
    lines = textwrap.dedent("".join(_lines(newer, row.node))).splitlines(keepends=True)
    if not parses("".join(lines)):
        return Answer(None, why="its lines say something else without their indentation")
    text, sure = _renamed("".join(lines), _votes(pairs, row))
    partner = pairs.get(row.node)
    if partner is not None and ast.unparse(partner.node) == ast.unparse(ast.parse(text)):
        return Answer(None, sure, "already there", True)
    place = _place(row, {mine: other for mine, other in pairs.items() if mine is not row.node})
    if place is None:
        return Answer(None, why="neither neighbour nor block has a partner")
    at, column, confidence = place
    old = older.splitlines(keepends=True)
    margin = old[column.lineno - 1][: column.col_offset]
    if at and not old[at - 1].endswith("\n"):
        old[at - 1] += "\n"
    inserted = textwrap.indent(text if text.endswith("\n") else text + "\n", margin)
    return Answer("".join([*old[:at], inserted, *old[at:]]), confidence * sure, "aligned")


def _rows(source: str) -> list[_Row]:
    found: list[_Row] = []

    def visit(block: list[ast.stmt], parent: ast.stmt | None) -> None:
        for node in block:
            header = ast.unparse(node).split("\n", 1)[0] if hasattr(node, "body") else ast.unparse(node)
            used = [n for n in ast.walk(node) if isinstance(n, ast.Name)] if not hasattr(node, "body") else []
            names = tuple(n.id for n in used)
            found.append(_Row(node, header, _shape(node, header), names, block, parent))
            for name in ("body", "orelse", "finalbody"):
                visit(getattr(node, name, []), node)
            for handler in getattr(node, "handlers", []):
                visit(handler.body, node)

    visit(ast.parse(source).body, None)
    return found


def _shape(node: ast.stmt, header: str) -> str:
    if hasattr(node, "body"):
        return f"{type(node).__name__} {header.split('(')[0]}"
    return " ".join(
        repr(n.value) if isinstance(n, ast.Constant) else n.attr if isinstance(n, ast.Attribute) else type(n).__name__
        for n in ast.walk(node)
    )


def _aligned(ours: list[_Row], theirs: list[_Row]) -> dict[ast.stmt, _Row]:
    """Partners of our statements: equal ones, and between these, in order, those that differ by names only."""
    pairs: dict[ast.stmt, _Row] = {}
    equal = difflib.SequenceMatcher(None, [r.text for r in ours], [r.text for r in theirs], autojunk=False)
    for kind, a, b, c, d in equal.get_opcodes():
        if kind == "equal":
            pairs |= {mine.node: other for mine, other in zip(ours[a:b], theirs[c:d], strict=True)}
        elif kind == "replace":
            shapes = [r.shape for r in ours[a:b]], [r.shape for r in theirs[c:d]]
            for start, begin, size in difflib.SequenceMatcher(None, *shapes, autojunk=False).get_matching_blocks():
                pairs |= {ours[a + start + k].node: theirs[c + begin + k] for k in range(size)}
    return pairs


def _votes(pairs: dict[ast.stmt, _Row], row: _Row) -> dict[str, Counter[str]]:
    """For each name of ours, the names that stand for it in the partners of other statements."""
    votes: dict[str, Counter[str]] = {}
    for mine, other in pairs.items():
        names = [n.id for n in ast.walk(mine) if isinstance(n, ast.Name)] if not hasattr(mine, "body") else []
        if mine is not row.node and len(names) == len(other.names):
            for name, there in zip(names, other.names, strict=True):
                votes.setdefault(name, Counter())[there] += 1
    return votes


def _renamed(text: str, votes: dict[str, Counter[str]]) -> tuple[str, float]:
    """The statement under the majority's names, and the smallest majority."""
    lines, sure = [line.encode() for line in text.split("\n")], 1.0
    found = {(n.lineno, n.col_offset, n.id) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
    for line, column, name in sorted(found, reverse=True):
        if name not in votes:
            continue
        (new, count), total = votes[name].most_common(1)[0], sum(votes[name].values())
        data = lines[line - 1]
        if data[column:].startswith(name.encode()):  # not so within f-strings before Python 3.12
            lines[line - 1] = data[:column] + new.encode() + data[column + len(name.encode()) :]
            sure = min(sure, count / total)
    return b"\n".join(lines).decode(), sure


def _place(row: _Row, pairs: dict[ast.stmt, _Row]) -> tuple[int, ast.stmt, float] | None:
    """How many lines of the older source come first, a statement of the block to stand in, and a confidence."""
    at = next(i for i, node in enumerate(row.block) if node is row.node)
    before = pairs.get(row.block[at - 1]) if at else None
    behind = pairs.get(row.block[at + 1]) if at + 1 < len(row.block) else None
    if before is not None:
        beside = behind is not None and behind.block is before.block
        return before.node.end_lineno or 0, before.node, 0.95 if beside else 0.7
    if behind is not None:
        return _start(behind.node) - 1, behind.node, 0.7
    parent = pairs.get(row.parent) if row.parent is not None else None
    if parent is None:
        return None
    first: ast.stmt = parent.node.body[0]  # type: ignore[attr-defined]  # a partner of a compound statement is one
    return _start(first) - 1, first, 0.4


def _start(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _lines(source: str, node: ast.stmt) -> list[str]:
    return source.splitlines(keepends=True)[_start(node) - 1 : node.end_lineno]


# --- FlorDB -------------------------------------------------------------------------------------------------------

FLORDB = "flordb==4.0.1"  # the last release with hlast
CASE_SECONDS = 10.0  # hlast can take a minute for 1 000 lines; who waits longer has a refusal, in effect

# Reads [newer, older, line] and writes [patched or null, "why"], a line each. FlorDB prints to stdout while it works.
_WORKER = """
import io, json, os, sys, tempfile
from argparse import Namespace
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from flordb.hlast.gtpropagate import propagate
out = os.path.join(tempfile.mkdtemp(), "out.py")
print(json.dumps("ready"), file=answers, flush=True)
for question in sys.stdin:
    newer, older, line = json.loads(question)
    try:
        propagate(Namespace(lineno=line, source=io.StringIO(newer), target=io.StringIO(older), out=out, gumtree={}))
        with open(out) as patched:
            answer = [patched.read(), "placed"]
    except FileExistsError:
        answer = [None, "already there"]
    except Exception as problem:
        answer = [None, f"{type(problem).__name__}: {problem}"]
    print(json.dumps(answer), file=answers, flush=True)
"""


class HlastMissing(Exception):
    """FlorDB could not be installed; the message says why."""


class Hlast:
    """FlorDB's hlast as a Propagator. Its processes are started when they are needed, and ended by `close`."""

    def __init__(self, folder: Path, seconds: float = CASE_SECONDS) -> None:
        """Installs FlorDB into `folder` unless it is there. Raises HlastMissing."""
        self._python = _installed(folder)
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._here = tempfile.TemporaryDirectory(prefix="flor-bench-hlast-")
        subprocess.run(["git", "init", "--quiet", "."], cwd=self._here.name, check=True)  # else it cannot be imported
        self._started()

    def __call__(self, newer: str, older: str, line: int) -> Answer:
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps([newer, older, line]).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._stop()
            return Answer(None, why="hlast's process has ended")
        answer = self._answer(process, self._seconds)
        if not isinstance(answer, list):
            self._stop()
            return Answer(None, why=f"no answer within {self._seconds:.0f} s")
        source, why = answer
        return Answer(source, 1.0 if source is not None else 0.0, why, why == "already there")

    def close(self) -> None:
        self._stop()
        self._here.cleanup()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self._python), "-c", _WORKER],
                cwd=self._here.name,
                env={**os.environ, "HOME": self._here.name},  # it keeps a database there
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._answer(self._process, 120.0) != "ready":
                self._stop()
                raise HlastMissing("FlorDB is installed, but its hlast cannot be imported")
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[bytes], seconds: float) -> object:
        """The next line of the process; None if none begins in time. It writes whole lines, so the rest is near."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(seconds) else b""
        return json.loads(line) if line.endswith(b"\n") else None

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "flor_ray" / f"bench-{FLORDB.replace('==', '-')}"


def _installed(folder: Path) -> Path:
    """The interpreter of an environment with FlorDB."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == FLORDB:
        return python
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", FLORDB],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise HlastMissing(f"{' '.join(command[1:4])} failed: {' '.join(last)}")
    mark.write_text(FLORDB)
    return python
