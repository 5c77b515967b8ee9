"""Named numbers in a line of text, as scripts print them. Pure text: no streams, no session.

    Epoch [3/10] - loss 0.45 - val acc: 97.5% (best 98.1%), 45 it/s
    ╰───╯  ╰──╯    ╰───────╯   ╰───────────╯   ╰────────╯   ╰─────╯
                   loss=0.45    val_acc=97.5    best=98.1   no name

A line is cut into segments at brackets, commas, semicolons, bars, tabs and free-standing dashes.

    name: 0.3   name = 0.3      a value wherever it stands; its name is what is left of the sign, up to six words
    name 0.3                    a value if its segment holds nothing but such pairs, and the name is not prose

Not values: counters (`epoch 3`, `step: 20`, `3/10`), anything with a unit (`12 ms`, `45 it/s`: the next line may have
another one), dates, times, versions, addresses, hexadecimals, paths, shapes, what a progress bar counts itself, and
numbers without a name. So a table, whose names stand in another line than its values, holds none.
"""

from __future__ import annotations

import re

LINE_CHARACTERS = 2_000  # what stands further right in a line is not read: the cost of a line is bounded
_NAME_WORDS = 6  # more words are a sentence

Number = int | float

_DIGIT = re.compile(r"\d")
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_BAR = re.compile(r"\d+%\|[^|\[]*\|\s*\S+\s*\[[^\],]*(?:,[^\],]*/\w+)?")  # `40%|██  | 4/10 [00:01<00:02, 3.2it/s`
_BAR_WITHOUT_TOTAL = re.compile(r"\b\d+\w*\s\[\d+:[^\],]*,[^\],]*/\w+")  # `12it [00:03, 3.9it/s`
_MODULE = re.compile(r"\s*\(\w+\): \w+\(")  # a line of a printed model: its layers' settings
_WRAPPED = re.compile(r"\b(?:tensor|(?:np\.)?(?:float|int)\d+|Array)\(\s*([^\s,()\[\]]+)[^()\[\]]*\)")
_TOKEN = re.compile(
    r"""
    [ '"]*(?:
    (?P<severity>(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\b)
  | (?P<number>[+-]?(?>\d{1,3}(?:,\d{3})+(?:\.\d+)? | \d+(?:_\d{3})+ | (?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?
        | [nN][aA][nN](?!\w) | [iI]nf(?:inity)?(?!\w) | INF(?!\w)))
    (?P<percent>[ ]?%)?(?=$ | [\s;|)\]}'"] | ,(?!\d) | [.:](?:\s|$))
  | (?P<fraction>\d+/\d+(?=$|[\s,;:|)\]}]))
  | (?P<junk>[+-]?\.?\d[^\s,;|()\[\]{}'"]*)
  | (?P<word>[^\W\d](?:[\w@/.^\#+-]*[\w@\#+])?)
  | (?P<remark>\((?:[^\W\d][\w/]*|%)\)(?=\s*[:=]))
  | (?P<compared>[=<>!:+*-]=|::)
  | (?P<address>(?<=\w):(?=\d+(?:[^\d.eE%]|\.?$)))
  | (?P<sign>[:=])
  | (?P<other>.)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNIT = re.compile(
    r"(?:\w+/s|s|secs?|seconds?|[mun]s|mins?|minutes?|h|hours?|[kmgt]?i?b|bytes|[mg]?hz|it|k|m)\b(?!\s*[:=])",
    re.IGNORECASE,
)

# They say where a run is, not how it goes; some are columns of every table that flor_ray shows.
_COUNTERS = frozenset({"epoch", "step", "iter", "iteration", "batch", "line"})
_LABELS = frozenset(
    {"project", "version", "run", "timestamp"} | {"python", "torch", "pytorch", "cuda", "cudnn", "numpy", "tensorflow"}
)
_PROSE = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "is",
        "of",
        "on",
        "or",
        "than",
        "the",
        "to",
        "took",
        "was",
        "were",
        "with",
    ]
)


def numbers_in(line: str) -> list[tuple[str, Number]]:
    """The named numbers of a line, from left to right. Names keep their case; spaces in them become `_`.

    Integers stay integers; a percent sign and separators of thousands are taken away; `nan` and `inf` are numbers.
    """
    if len(line) > LINE_CHARACTERS:
        line = line[: max(line.rfind(end, 0, LINE_CHARACTERS) for end in " ,;\t") + 1]  # half a number would be wrong
    if not _DIGIT.search(line) and "nan" not in (lowered := line.lower()) and "inf" not in lowered:
        return []  # most lines that scripts print
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    if "[" in line:
        line = _BAR_WITHOUT_TOTAL.sub("|", _BAR.sub("|", line))
    if "(" in line:
        if _MODULE.match(line):
            return []
        line = _WRAPPED.sub(r"\1", line)
    return list(_Line(line).found)


class _Line:
    """Reads one line, token by token."""

    def __init__(self, line: str) -> None:
        self.found: list[tuple[str, Number]] = []
        self._words: list[str] = []  # of the name that is being read
        self._signed = False  # a sign stands after them
        self._pairs: list[tuple[str, Number, bool]] = []  # of this segment; whether they have a sign
        self._clean = True  # nothing but pairs in this segment so far
        self._just_paired = False
        for match in _TOKEN.finditer(line):
            kind = match.lastgroup or ""
            if kind == "word":
                self._word(match)
            else:
                self._take(kind, match)
            self._just_paired = self._just_paired and kind in ("number", "percent")
        self._end_segment()

    def _take(self, kind: str, match: re.Match[str]) -> None:
        if kind in ("number", "percent"):
            self._number(match["number"], kind == "percent")
        elif kind == "remark" and self._words and not self._signed:
            if match["remark"] != "(%)":
                self._words.append(match["remark"][1:-1])
        elif kind == "sign" and self._words and not self._signed:
            self._signed = True
        elif kind in ("fraction", "junk"):
            self._clean = self._clean and kind == "fraction"
            self._words, self._signed = [], False
        else:
            self._end_segment()

    def _word(self, match: re.Match[str]) -> None:
        if self._just_paired and _UNIT.match(match.string, match.start("word")):
            self._pairs.pop()
            return
        if self._signed:  # `Test set: average loss: 0.3`: the name begins after the first colon
            self._forget_words()
        self._words.append(match["word"])

    def _number(self, text: str, percent: bool) -> None:
        value = _value(text)
        words, signed = self._words, self._signed
        self._words, self._signed = [], False
        self._just_paired = False
        if not words or _is_counter(words, value):
            return
        if not signed:  # several words and an integer are more often a remark: `Running fold 3`
            prose = len(words) > 1 and isinstance(value, int) and not percent
            self._clean = self._clean and not prose and not _PROSE.intersection(word.lower() for word in words)
        if len(words) <= _NAME_WORDS:
            self._pairs.append(("_".join(words), value, signed))
            self._just_paired = True

    def _forget_words(self) -> None:
        if self._words:
            self._clean = False
        self._words, self._signed = [], False

    def _end_segment(self) -> None:
        self._forget_words()
        self.found.extend((name, value) for name, value, signed in self._pairs if signed or self._clean)
        self._pairs, self._clean = [], True


def _value(text: str) -> Number:
    digits = text.replace(",", "").replace("_", "")
    return int(digits) if digits.lstrip("+-").isdecimal() else float(digits)


def _is_counter(words: list[str], value: Number) -> bool:
    last = words[-1].lower()
    return last in _LABELS or (last in _COUNTERS and (len(words) == 1 or isinstance(value, int)))
