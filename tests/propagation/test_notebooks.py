"""Notebooks are sources: a statement is carried from a cell into a script, and from a script into a cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flor_ray.propagation import propagate, propagate_tree
from flor_ray.propagation.histories.notebooks import as_source, with_insertions

SCRIPT = """\
import flor_ray as flor

net = build()
for epoch in flor.loop("epoch", range(3)):
    loss = train(net)
    save(net)
print("done")
"""
LOGGING = SCRIPT.replace("    save", '    flor.log("loss", loss)\n    save')
CELLS = [
    "import flor_ray as flor\n%matplotlib inline\nfiles = !ls",
    "net = build()",
    'for epoch in flor.loop("epoch", range(3)):\n    loss = train(net)\n    save(net)',
    'print("done")',
]


def notebook(cells: list[str], **metadata: Any) -> str:
    code = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": c.splitlines(True)} for c in cells]
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# Training\n", "flor.log('x', 1)"]}
    return json.dumps({"cells": [text, *code], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def sources(text: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def line_of(source: str | None, word: str) -> int:
    assert source is not None
    return next(number for number, line in enumerate(source.splitlines(), 1) if word in line)


def test_a_source_has_each_line_of_each_code_cell() -> None:
    source = as_source(notebook(CELLS))
    assert source is not None
    assert source.splitlines()[:5] == [
        "# %%",
        "import flor_ray as flor",
        "pass  # %matplotlib inline",
        "files = None  # !ls",
        "# %%",
    ]
    assert source.count("\n") == 4 + sum(len(each.splitlines()) for each in CELLS)
    compile(source, "notebook", "exec")


def test_a_cell_in_another_language_is_comments() -> None:
    source = as_source(notebook(["%%bash\nls -l\n\necho 1", "%%time\nx = 1", "    %timeit f()", "net?"]))
    bash, timed, indented, asked = (source or "").split("# %%\n")[1:2] + (source or "").rsplit("# %%\n", 3)[1:]
    assert bash == "# %%bash\n# ls -l\n#\n# echo 1\n"
    assert timed == "pass  # %%time\nx = 1\n"
    assert (indented, asked) == ("    pass  # %timeit f()\n", "pass  # net?\n")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"cells": 1}', "x = 1", "[" * 100_000])
def test_what_is_no_notebook_has_no_source(text: str) -> None:
    assert as_source(text) is None
    assert with_insertions(text, "x = 1\n") == text


def test_a_notebook_of_another_kernel_has_no_source() -> None:
    assert as_source(notebook(["x <- 1"], kernelspec={"language": "R"})) is None


def test_a_statement_of_a_cell_arrives_in_the_script_that_it_was() -> None:
    logging = [*CELLS[:2], CELLS[2].replace("    save", '    flor.log("loss", loss)\n    save'), CELLS[3]]
    newer = as_source(notebook(logging))
    assert newer is not None
    assert propagate(newer, SCRIPT, [line_of(newer, "flor.log")]).source == LOGGING


def test_a_statement_of_a_script_arrives_in_the_cell() -> None:
    older = notebook(CELLS)
    result = propagate_tree({"train.py": LOGGING}, {"train.ipynb": older}, {"train.py": [line_of(LOGGING, "flor.log")]})
    assert not result.refused
    patched = result.sources["train.ipynb"]
    assert sources(patched) == [
        *CELLS[:2],
        CELLS[2].replace("    save", '    flor.log("loss", loss)\n    save'),
        CELLS[3],
    ]
    assert json.loads(patched)["cells"][0] == json.loads(older)["cells"][0]


def test_an_import_that_comes_along_goes_into_the_first_cell() -> None:
    newer = [CELLS[0] + "\nimport numpy as np", CELLS[1], CELLS[2] + '\n    flor.log("norm", np.mean(loss))', CELLS[3]]
    older = notebook(CELLS)
    source = as_source(notebook(newer))
    result = propagate_tree(
        {"a.ipynb": notebook(newer)}, {"a.ipynb": older}, {"a.ipynb": [line_of(source, "flor.log(")]}
    )
    assert not result.refused
    cells = sources(result.sources["a.ipynb"])
    assert "import numpy as np" in cells[0]
    assert cells[2] == CELLS[2] + '\n    flor.log("norm", np.mean(loss))'


def test_a_comment_like_a_mark_parts_no_cell() -> None:
    cells = ["a = 1\n# %%\nb = 2", "c = 3"]
    text = notebook(cells)
    source = as_source(text)
    assert source is not None
    assert sources(with_insertions(text, source.replace("b = 2", "x = 0\nb = 2"))) == [
        "a = 1\n# %%\nx = 0\nb = 2",
        "c = 3",
    ]
    assert sources(with_insertions(text, source.replace("c = 3", "x = 0\nc = 3"))) == [cells[0], "x = 0\nc = 3"]
    assert sources(with_insertions(text, source + "x = 0\n")) == [cells[0], "c = 3\nx = 0"]


def test_what_is_not_patched_keeps_every_byte() -> None:
    text = notebook(CELLS)
    source = as_source(text)
    assert source is not None
    assert with_insertions(text, source) == text
    assert propagate_tree({"a.ipynb": text}, {"a.ipynb": text}, {"a.ipynb": [3]}).sources == {}
