"""Variables whose values a script draws anew whenever it starts: from entropy, the process, the clock. Pure.

    run = f"runs/{uuid.uuid4()}"      a replay that runs this line again has another one,
    scratch = tempfile.mkdtemp()      and looks for its files elsewhere

Such values are state, although no loop changes them: checkpoints keep them where they are small. A number
that is read from a clock and that something is measured against (`time.time() - began`) is none of them: what a replay
measures begins with the replay. Random numbers are none either: the states of their generators are recorded.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Mapping

from flor_ray.analysis.clocks import CLOCKS, DATES, Origin, comes_from, features_from
from flor_ray.analysis.dependence import reached
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.orders import orders
from flor_ray.analysis.source import label_of, read

_ENTROPY = frozenset(("uuid1", "uuid4", "urandom", "getrandom", "SystemRandom", "SeedSequence", "default_rng"))
_ENTROPY |= frozenset(("token_hex", "token_bytes", "token_urlsafe", "randbits", "randbelow", "secrets"))
_SEEDED = frozenset(("default_rng", "SeedSequence"))  # unless they are given nothing
_PROCESS = frozenset(("getpid", "getppid", "get_ident", "get_native_id", "id", "hash"))
_MACHINE = frozenset(("gethostname", "getfqdn", "getnode", "uname"))
_TEMPORARY = frozenset(
    (
        "mkdtemp",
        "mkstemp",
        "mktemp",
        "TemporaryDirectory",
        "NamedTemporaryFile",
        "TemporaryFile",
        "SpooledTemporaryFile",
    )
)
_DATES = frozenset(("strftime", "ctime", "asctime", "localtime", "gmtime"))
_CLOCKS = CLOCKS | DATES | _DATES
_DRAWN = _ENTROPY | _PROCESS | _MACHINE | _TEMPORARY
_MAY_DRAW = re.compile("|".join(sorted(_DRAWN | _CLOCKS)))
_DEVICE = re.compile(r"(cuda|cpu|mps|xpu|hip|meta)(:\d+)?")


class DrawnNames:
    """Names of one file's variables that depend on what is drawn anew."""

    def __init__(
        self,
        drawn: Iterable[str] = (),
        clocked: Iterable[str] = (),
        measured: Iterable[str] = (),
        descriptors: Iterable[str] = (),
    ) -> None:
        """`clocked` depend on a clock; `measured` are what something is measured against; `descriptors` may be
        numbers of the system's, which stand for another file in another process."""
        self._drawn = frozenset(drawn)
        self.names = self._drawn | frozenset(clocked)
        self._measured = frozenset(measured)
        self._descriptors = frozenset(descriptors)

    def keeps(self, name: str, value: object) -> bool:
        """Whether this value of a variable is to be kept, unless it is too large or cannot be."""
        measured = name in self._measured and name not in self._drawn and isinstance(value, int | float)
        descriptor = name in self._descriptors and isinstance(value, int)
        return name in self.names and not measured and not descriptor and not is_device(value)


@functools.lru_cache(maxsize=512)
def drawn_names(text: str) -> DrawnNames:
    """Those of a source; none if it cannot be parsed."""
    in_order = orders(text).names
    in_order |= _variables([text], in_order)
    if not _MAY_DRAW.search(text):
        return DrawnNames(in_order)
    source = read(text)
    measuring = (node for node in source.nodes if _measures(node))
    operands = {each.id for node in measuring for each in walk(node) if isinstance(each, ast.Name)}
    imports = [node for node in source.nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    called_otherwise = {
        alias.asname
        for node in imports
        for alias in node.names
        if alias.asname and alias.name.rpartition(".")[2] in _DRAWN | _CLOCKS
    }
    drawn = _variables([text], _DRAWN | called_otherwise)
    return DrawnNames(drawn | in_order, _variables([text], _CLOCKS), operands, _variables([text], ["mkstemp"]))


def features_drawn(text: str) -> Mapping[str, str]:
    """Features that a source logs and that are drawn anew wherever it logs them, with what draws them: of these a
    replay that does not begin at a checkpoint has other values than the run. Those of clocks are told otherwise."""
    if not _MAY_DRAW.search(text):
        return {}
    found: dict[str, str] = {}
    for function in sorted(_DRAWN & set(re.findall(r"\w+", text))):
        found |= {name: f"{function}()" for name in features_from(text, _origin(function)) if name not in found}
    return found


def features_called(text: str) -> Mapping[str, str]:
    """Features whose statements themselves draw: of these every replay has other values than the run."""
    if not _MAY_DRAW.search(text):
        return {}
    source = read(text)
    origins = {function: _origin(function) for function in sorted(_DRAWN & set(re.findall(r"\w+", text)))}
    return {
        call.name: f"{function}()"
        for call in (*source.calls, *source.possible)
        if call.function == "log" and call.name is not None and call.value is not None
        for function, origin in origins.items()
        if comes_from(call.value, frozenset(), origin)
    }


def _origin(function: str) -> Origin:
    return Origin(functools.partial(_calls, function), among=True)


def _calls(function: str, call: ast.Call) -> bool:
    is_seeded = function in _SEEDED and bool(call.args or call.keywords)
    return label_of(call.func) == function and not is_seeded


def _measures(node: ast.AST) -> bool:
    is_difference = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Sub)
    return is_difference or isinstance(node, ast.Compare)


def _variables(texts: Iterable[str], origins: Iterable[str]) -> frozenset[str]:
    found = frozenset(reached(texts, origins))
    return frozenset(name for name in found - frozenset(origins) if name.isidentifier())


def is_device(value: object) -> bool:
    """Whether a value says which device of this machine is used: on another machine it is another one."""
    return isinstance(value, str) and _DEVICE.fullmatch(value) is not None
