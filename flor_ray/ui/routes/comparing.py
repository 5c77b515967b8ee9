"""What the page that compares versions asks for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from flor_ray.records import Experiment, Value
from flor_ray.store import typed_values
from flor_ray.store.typed_values import BLOB_TYPES
from flor_ray.ui import cells
from flor_ray.ui.comparing import comparing, side_by_side
from flor_ray.ui.comparing.comparing import ComparedFact
from flor_ray.ui.comparing.divergence import Divergence
from flor_ray.ui.comparing.side_by_side import LinePair
from flor_ray.ui.routes.answering import answer
from flor_ray.ui.routes.asked import Known, Looked

router = APIRouter(prefix="/compare")
_LEVELS = ("d", "o", "i")
Versions = Annotated[list[str], Query(min_length=1)]


@router.get("")
def compare(opened: Looked, known: Known, versions: Versions) -> Response:
    """What versions have in common and what not; their values are compared with those of the first."""
    found = known.chosen(versions, comparing.MOST_VERSIONS)
    diverging = [
        {
            "left": found[0].version,
            "right": other.version,
            "features": list(map(_divergence, comparing.values(opened.project, found[0], other))),
        }
        for other in found[1:]
    ]
    return answer(
        {
            "versions": list(map(_run, found)),
            "arguments": list(map(_fact, comparing.arguments(found))),
            "environment": list(map(_fact, comparing.environment(found))),
            "files": [
                {"path": one.path, "shown": cells.readable(one.path), "states": one.states, "differs": one.differs}
                for one in comparing.files(opened.project, found)
            ],
            "diverging": diverging,
        }
    )


@router.get("/code")
def code(opened: Looked, known: Known, left: str, right: str, path: str, whole: bool = False) -> Response:
    """A file of two versions, line by line."""
    one, other = (*known.chosen([left], 1), *known.chosen([right], 1))
    return answer({"rows": list(map(_pair, comparing.code(opened.project, one, other, path, whole)))})


@router.get("/landing")
def landing(opened: Looked, known: Known, versions: Versions, name: str) -> Response:
    """Where the statements of a name would stand in versions."""
    found, notes = comparing.landings(opened.project, known.chosen(versions, comparing.MOST_VERSIONS), name)
    return answer(
        {
            "notes": list(map(cells.readable, notes)),
            "landings": [
                {
                    "version": one.version,
                    "findings": [
                        {
                            "fate": finding.fate.value,
                            "confidence": finding.confidence,
                            "doubtful": finding.is_doubtful,
                            "where": cells.readable(comparing.said(finding)[0]),
                            "why": cells.readable(comparing.said(finding)[1]),
                        }
                        for finding in one.findings
                    ],
                    "files": [
                        {"path": cells.readable(path), "rows": list(map(_pair, side_by_side.pairs(before, after)))}
                        for path, (before, after) in one.files.items()
                    ],
                }
                for one in found
            ],
        }
    )


def _run(run: Experiment) -> dict[str, Any]:
    return {
        "version": run.version,
        "run": cells.readable(run.run),
        "status": run.status.value,
        "started": run.started,
        "seconds": None if run.ended is None else run.ended - run.started,
        "epochs": run.epochs,
        "error": None if run.error is None else cells.text(run.error),
        "imported": run.is_imported,
    }


def _fact(fact: ComparedFact) -> dict[str, Any]:
    return {
        "name": cells.readable(fact.name),
        "values": [cells.cell(value) for value in fact.values],
        "differs": fact.differs,
    }


def _pair(row: LinePair) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": row.kind}
    if row.kind == "skipped":
        return found | {"skipped": row.skipped}
    return found | {
        "left": row.left,
        "right": row.right,
        "left_text": cells.code_line(row.left_text),
        "right_text": cells.code_line(row.right_text),
    }


def _divergence(one: Divergence) -> dict[str, Any]:
    return {
        "name": one.name,
        "shown": cells.readable(one.name),
        "level": _LEVELS[one.level],
        "common": one.common,
        "differing": one.differing,
        "only_left": one.only_left,
        "only_right": one.only_right,
        "epoch": one.epoch,
        "step": one.step,
        "iteration": one.iteration,
        "left": _value(one.left),
        "right": _value(one.right),
    }


def _value(value: Value | None) -> cells.Cell:
    """A stored value; of what lies in the store as an object, that it does."""
    if value is None:
        return None
    if value.type in BLOB_TYPES:
        return {"other": f"<object {str(value.text)[:12]}>"}
    return cells.cell(typed_values.decode(value, str.encode))
