"""What `flor-ray init` proposes, for people and programs: a unified diff under comments that give the reasons."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from flor_ray.analysis.proposing.proposals import NotProposed, Proposed
from flor_ray.redaction import shown
from flor_ray.reports.placements import unified


def text(proposed: Proposed, originals: Mapping[str, bytes]) -> str:
    """Reasons as comments, which `git apply` and `patch` skip, and the diffs of all files."""
    lines = []
    for each in proposed.proposals:
        lines.append(f"# {each.path}:{each.line}: {each.what}, confidence {each.confidence:.2f}: {each.reason}")
        lines.append(f"#     {each.call}")
    lines += [f"# {_where(each)}: no call for the {each.what}: {each.reason}" for each in proposed.refused]
    diffs = [unified(path, _plain(originals[path]), _plain(data)) for path, data in sorted(proposed.edited.items())]
    return "\n".join(map(shown, lines)) + ("\n" if lines else "") + "".join(diffs)


def as_json(proposed: Proposed, originals: Mapping[str, bytes]) -> dict[str, object]:
    """All of it as plain values."""
    return {
        "script": proposed.script,
        "proposals": [
            {
                "what": str(each.what),
                "path": each.path,
                "line": each.line,
                "call": each.call,
                "confidence": each.confidence,
                "reason": each.reason,
            }
            for each in proposed.proposals
        ],
        "refused": [
            {"what": str(each.what), "path": each.path, "line": each.line, "reason": each.reason}
            for each in proposed.refused
        ],
        "present": [str(each) for each in proposed.present],
        "lines_added": sum(counts(originals[path], data)[0] for path, data in proposed.edited.items()),
        "lines_changed": sum(counts(originals[path], data)[1] for path, data in proposed.edited.items()),
    }


def counts(before: bytes, after: bytes) -> tuple[int, int]:
    """Lines that are added, and lines that are changed, indentation apart."""
    old, new = ([line.strip() for line in data.split(b"\n")] for data in (before, after))
    added = changed = 0
    for word, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if word in ("insert", "replace"):
            changed += min(j - i, m - k)
            added += max(0, (m - k) - (j - i))
    return added, changed


def summary(proposed: Proposed, originals: Mapping[str, bytes], is_written: bool) -> str:
    """What was done, or what can be, in a sentence."""
    if not proposed.edited:
        there = ", ".join(dict.fromkeys(map(str, proposed.present)))
        return f"Nothing to add{f': {there} is there already' if there else ''}."
    added = sum(counts(originals[path], data)[0] for path, data in proposed.edited.items())
    changed = sum(counts(originals[path], data)[1] for path, data in proposed.edited.items())
    size = f"{added} line{'s' * (added != 1)} more, {changed} changed, in {', '.join(sorted(proposed.edited))}"
    return f"Written: {size}." if is_written else f"Nothing is written yet: {size}. Add --write to do it."


def _where(each: NotProposed) -> str:
    return each.path if each.line is None else f"{each.path}:{each.line}"


def _plain(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
