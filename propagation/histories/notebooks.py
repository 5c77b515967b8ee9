"""Notebooks as sources: the code cells of an `.ipynb` file one below another, and inserted lines put back into cells.

    cell 1   import flor_ray as flor          # %%
             %matplotlib inline               import flor_ray as flor
    cell 2   flor.log("x", x)         <-->    pass  # %matplotlib inline
                                              # %%
                                              flor.log("x", x)

Each line of a code cell is one line of the source, so that lines of the one are lines of the other. What is IPython's
own is a `pass` there, with what was written as a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

NOTEBOOK = ".ipynb"
_CELL = "# %%"
_MAGIC = re.compile(r"^(\s*)([%!?].*|[\w.]+\?+\s*)$")
_CAPTURED = re.compile(r"^(\s*[\w.,\s]+?)=\s*([%!].*)$")
_MAX_CHARACTERS = 20_000_000  # pictures are in it; a source of such a length is refused anyway


def as_sources(files: Mapping[str, str]) -> dict[str, str]:
    """Files by path, with notebooks as sources, if they are not yet; what is no notebook after all is left out."""
    found = {}
    for path, text in files.items():
        source = as_source(text) if path.endswith(NOTEBOOK) and not text.startswith(_CELL) else text
        if source is not None:
            found[path] = source
    return found


def as_source(notebook: str) -> str | None:
    """The code cells of a notebook as one source, or None if the text is no notebook with code in Python."""
    document = _read(notebook)
    if document is None:
        return None
    lines: list[str] = []
    for cell in _code_cells(document):
        lines += [_CELL, *_as_python(_lines(cell))]
    return "\n".join(lines) + "\n"


def with_insertions(notebook: str, patched: str) -> str:
    """A notebook with the lines that a patch of its source has put there, in the cells where they stand.

    A line above the first cell's mark goes into that cell; the notebook's other content stays as it is.
    """
    if notebook.startswith(_CELL):
        return patched  # it was asked about as a source
    document = _read(notebook)
    source = as_source(notebook)
    if document is None or source is None or source == patched:
        return notebook
    cells = list(_code_cells(document))
    added: list[dict[int, list[str]]] = [{} for _ in cells]  # by cell: line in it -> what is put before that line
    rest = iter(source.split("\n")[:-1])
    expected = next(rest, None)
    cell, line = -1, 0
    for text in patched.split("\n")[:-1]:
        if text != expected:
            added[max(cell, 0)].setdefault(max(line, 0), []).append(text)
        else:
            cell, line = (cell + 1, 0) if text == _CELL and _begins(cells, cell, line) else (cell, line + 1)
            expected = next(rest, None)
    for number, each in enumerate(cells):
        _insert(each, added[number])
    indent = re.search(r"\n( +)\"", notebook)
    ending = "\n" if notebook.endswith("\n") else ""
    return json.dumps(document, indent=len(indent.group(1)) if indent else None, ensure_ascii=False) + ending


def _begins(cells: list[dict[str, Any]], cell: int, line: int) -> bool:
    """Whether a mark is that of the next cell, and no comment in this one."""
    return cell < 0 or line >= len(_lines(cells[cell]))


def _insert(cell: dict[str, Any], added: Mapping[int, list[str]]) -> None:
    if not added:
        return
    lines = _lines(cell)
    merged: list[str] = []
    for number in range(len(lines) + 1):
        merged += added.get(number, [])
        merged += lines[number : number + 1]
    text = "\n".join(merged)
    cell["source"] = text if isinstance(cell["source"], str) else text.splitlines(keepends=True)


def _read(notebook: str) -> dict[str, Any] | None:
    if len(notebook) > _MAX_CHARACTERS:
        return None
    try:
        document = json.loads(notebook)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("cells"), list):
        return None
    metadata = document.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    language = kernel.get("language", "python") if isinstance(kernel, dict) else "python"
    return document if language == "python" else None


def _code_cells(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for cell in document["cells"]:
        if isinstance(cell, dict) and cell.get("cell_type") == "code" and isinstance(cell.get("source"), (str, list)):
            yield cell


def _lines(cell: dict[str, Any]) -> list[str]:
    written = cell["source"]
    text = written if isinstance(written, str) else "".join(each for each in written if isinstance(each, str))
    return text.split("\n") if text else []


def _as_python(lines: list[str]) -> list[str]:
    """The lines of a cell, as many as they are. A cell whose magic is about all of it is not Python."""
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(("%%time", "%%capture", "%%flor")):
        return [f"# {line}".rstrip() for line in lines]
    return [_line_as_python(line) for line in lines]


def _line_as_python(line: str) -> str:
    magic = _MAGIC.match(line)
    if magic is not None:
        return f"{magic.group(1)}pass  # {magic.group(2)}"
    captured = _CAPTURED.match(line)
    return f"{captured.group(1)}= None  # {captured.group(2)}" if captured is not None else line
