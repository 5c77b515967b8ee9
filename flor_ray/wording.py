"""How numbers, spans of time, versions, segments and operators are said to people, one way for all messages; and how
spans and sizes are read that people write. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flor_ray.errors import UsageError
from flor_ray.records import Operator, Segment

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def duration(seconds: float) -> str:
    """1.2 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def roughly(seconds: float) -> str:
    """What nobody knows to the second: 2.5 s, 40 s, 3 min 20 s."""
    return f"{seconds:.0f} s" if 9.95 <= seconds < 59.5 else duration(seconds if seconds < 10 else max(60.0, seconds))


def some_versions(versions: Sequence[str], limit: int = 3) -> str:
    """version a1b2c3d4; 12 versions: a1b2c3d4, 5e6f7a8b, 9c0d1e2f, ..."""
    shown = ", ".join(version[:8] for version in versions[:limit])
    if len(versions) == 1:
        return f"version {shown}"
    return f"{len(versions)} versions: {shown}{', ...' if len(versions) > limit else ''}"


def span(segment: Segment) -> str:
    """3-7, 3, all, or outside the loop."""
    if segment.operator is Operator.DP_I or (segment.operator is Operator.KNOWN and segment.last):
        return f"{segment.first}-{segment.last}" if segment.first != segment.last else str(segment.first)
    return "all" if segment.operator is Operator.DP_STAR else "outside the loop"


def place(segment: Segment) -> str:
    """version a1b2c3d4, epochs 3-7."""
    epochs = span(segment)
    words = f"epoch{'s' if '-' in epochs else ''} {epochs}" if epochs[0].isdigit() else epochs
    return f"version {segment.version[:8]}, {words}"


def operator_in_words(segment: Segment) -> str:
    """DP_i inner, DP*, ..."""
    return f"{segment.operator} {segment.variant}" if segment.operator is Operator.DP_I else segment.operator.value


def size(count: int) -> str:
    """Bytes in decimal units, as disks and buckets are sold: 0 B, 999 B, 1.5 kB, 12.3 GB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.95 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def ended(text: str) -> str:
    """A text of others as the end of a sentence: with one full stop, whether it brings its own or not."""
    said = text.rstrip()
    return said if said.endswith((".", "!", "?")) else f"{said}."


def printable(text: str) -> str:
    r"""A text that can be encoded: what stands for bytes that are no UTF-8 becomes \udc.., as in Python's repr."""
    return text.encode("utf-8", "backslashreplace").decode()


def parse_seconds(text: str) -> float:
    """Seconds of 1d, 12h, 30m, 2w, 90s or 0. Raises UsageError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", text) or re.fullmatch(r"(0)()", text)
    if found is None:
        raise UsageError(f"{text!r} is not a time span. Write a number and its unit, as in 12h, 1d or 2w, or 0.")
    return float(found[1]) * _SECONDS.get(found[2], 1.0)


def parse_bytes(text: str, what: str, advice: str = "") -> int:
    """Bytes that a text such as 4096, 500M, 2G or 1.5 GiB stands for; units are powers of 1024. Raises UsageError for
    anything else: it names `what` the text is of."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{what}={text!r} is not a number of bytes. Write 4096, 500M or 2G{advice}.")
    return int(float(found[1]) * (1 << _POWERS[found[2].upper()]))
