"""The house: links, packages, and what importing us leaves behind."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import flor_ray

ROOT = Path(__file__).parent.parent
SUBPACKAGES = ("cluster", "propagation", "scheduler")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_each_subpackage_is_linked_relatively_into_flor_ray() -> None:
    assert {name: str((ROOT / "flor_ray" / name).readlink()) for name in SUBPACKAGES} == {
        name: f"../{name}" for name in SUBPACKAGES
    }


def packages() -> dict[str, Path]:
    """Every package of the house by its dotted name, found by walking; symbolic links are not followed."""
    tops = {"flor_ray": ROOT / "flor_ray"} | {f"flor_ray.{name}": ROOT / name for name in SUBPACKAGES}
    return {
        ".".join((name, *init.parent.relative_to(top).parts)): init.parent
        for name, top in tops.items()
        for init in top.rglob("__init__.py")
        if not any((top / parent).is_symlink() for parent in init.relative_to(top).parents)
    }


def test_setuptools_is_told_of_all_packages_and_where_they_are() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(packages())
    assert setuptools["package-dir"] == {"flor_ray": "flor_ray"} | {f"flor_ray.{name}": name for name in SUBPACKAGES}


def test_every_room_says_what_it_holds() -> None:
    assert [
        name for name, folder in packages().items() if not (folder / "__init__.py").read_text().startswith('"""')
    ] == []


def test_all_that_gets_installed_is_pinned() -> None:
    """Else pip searches for a version, and next month's installation is another one. A requirement may pin by itself,
    as torch does with the libraries of its GPU builds."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {canonicalize_name(one.name): str(one.specifier) for one in map(Requirement, lines)}
    assert [name for name, version in pinned.items() if not version.startswith("==")] == []
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = told["project"]["optional-dependencies"].values()
    asked = [*told["build-system"]["requires"], *told["project"]["dependencies"], *chain(*extras)]
    todo = [Requirement(one) for one in asked if not one.startswith("flor_ray[")]  # extras that are part of another
    reached: set[tuple[str, frozenset[str]]] = set()
    loose: set[str] = set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name not in pinned and not str(wanted.specifier).startswith("=="):
            loose.add(name)
        if name not in pinned or (name, frozenset(wanted.extras)) in reached:
            continue
        reached.add((name, frozenset(wanted.extras)))
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                todo.append(needed)
    assert sorted(loose) == []
    assert sorted(pinned.keys() - {name for name, _ in reached}) == ["pip"]


def test_importing_everything_leaves_no_bare_subpackage_names() -> None:
    code = (
        "import sys, flor_ray.cli.commands, flor_ray.pipeline, flor_ray.cluster.actors, flor_ray.cluster.driver\n"
        f"print([name for name in {SUBPACKAGES!r} if name in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_importing_flor_ray_loads_nothing_heavy() -> None:
    heavy = ("ray", "torch", "pandas", "pyarrow", "numpy", "git", "fsspec", "tree_sitter")
    code = f"import sys, flor_ray; print([name for name in {heavy!r} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_importing_flor_ray_takes_less_than_30_ms_of_a_processor() -> None:
    """One run does: anything else on the machine only ever adds."""
    code = "import time; began = time.process_time(); import flor_ray; print(time.process_time() - began)"
    assert any(float(run_python(code)) < 0.03 for _ in range(15))


def test_a_wheel_holds_every_module_the_demos_scripts_and_the_page(tmp_path: Path) -> None:
    copied = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", "flor-demo*", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copied, symlinks=True, ignore=ignored)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copied, capture_output=True, check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("flor_ray/")}
    wanted = {
        f"{name.replace('.', '/')}/{path.name}" for name, folder in packages().items() for path in folder.glob("*.py")
    }
    wanted |= {f"flor_ray/demo_versions/{path.name}" for path in (ROOT / "flor_ray/demo_versions").glob("*.py")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "flor_ray/ui/static").rglob("*") if path.is_file()}
    wanted |= {"flor_ray/py.typed"}
    assert names == wanted


def test_no_room_or_module_has_the_name_of_a_public_function() -> None:
    """Importing such a module would put it in the function's place. (One of a room has its room's name before it.)"""
    modules = {path.stem for path in packages()["flor_ray"].glob("*.py")}
    rooms = {name.rpartition(".")[2] for name in packages()}
    assert (modules | rooms) & set(flor_ray.__all__) == set()


def test_the_picture_of_the_rooms_is_the_contract_that_the_linter_holds() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    picture = page.partition("## Rooms")[2].partition("```text\n")[2].partition("```")[0].splitlines()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert picture == next(contract["layers"] for contract in contracts if contract["name"].startswith("Rooms"))


def test_every_place_that_the_pages_name_is_there() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text() + (ROOT / "docs" / "decisions.md").read_text()
    named = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", page)))
    assert len(named) > 30
    homes = (
        ROOT,
        ROOT / "flor_ray",
        ROOT / "flor_ray/analysis",
        ROOT / "flor_ray/propagation",
        ROOT / "flor_ray/replaying",
    )
    assert [n for n in named if not any((h / n).exists() or (h / f"{n}.py").exists() for h in homes)] == []


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the house, parsed, by its path below the root."""
    paths = sorted(path for folder in packages().values() for path in folder.glob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def test_no_two_classes_share_a_name() -> None:
    """A leading underscore does not tell two ideas apart."""
    found = defaultdict(list)
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(f"{path}:{node.lineno}")
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


Definition = ast.FunctionDef | ast.ClassDef


def public(body: Iterable[ast.stmt], inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Functions, classes and methods whose names have no underscore in front, nor any that they are in."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield inside + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{inside}{node.name}.")


def methods(of: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in of.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


def test_every_public_definition_says_what_it_means() -> None:
    """What fits into one line says it itself; a method of a contract is described there, once for all classes."""
    trees = modules()
    classes = {node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    contracts = [methods(node) for node in classes.values() if "Protocol" in {ast.unparse(base) for base in node.bases}]

    def said_by_contract(name: str, of: ast.ClassDef) -> bool:
        own = methods(of)
        for base in of.bases:
            own = methods(classes[base.id]) | own if isinstance(base, ast.Name) and base.id in classes else own
        return any(name in contract and contract.keys() <= own.keys() for contract in contracts if contract != own)

    silent = []
    for path, tree in trees.items():
        for name, node in public(tree.body):
            is_short = isinstance(node, ast.FunctionDef) and len(node.body) == 1
            is_short &= node.body[0].lineno == node.body[0].end_lineno
            is_short |= any(ast.unparse(decorator).endswith(".setter") for decorator in node.decorator_list)
            is_short |= node.name.startswith("visit_")  # said by ast.NodeVisitor
            outer, _, method = name.rpartition(".")
            if ast.get_docstring(node) or is_short or (outer and said_by_contract(method, classes[outer])):
                continue
            silent.append(f"{path}:{node.lineno} {name}")
    assert silent == []


def test_every_docstring_can_be_read_alone() -> None:
    places = [
        f"{path}: {name}"
        for path, tree in modules().items()
        for name, node in [("", tree), *((n.name, n) for n in ast.walk(tree) if isinstance(n, Definition))]
        if (ast.get_docstring(node) or "").startswith("The same")
    ]
    assert places == []


def test_public_names_are_these_and_all_of_them_load() -> None:
    assert flor_ray.__all__ == [
        "MTK",
        "Query",
        "arg",
        "autolog",
        "checkpointing",
        "columns",
        "dataframe",
        "dataframes",
        "epochs",
        "explain",
        "iteration",
        "log",
        "loop",
        "plot",
        "propagate",
        "query",
        "relation",
        "replay",
        "replay_all",
        "versions",
    ]
    assert all(getattr(flor_ray, name).__doc__ for name in flor_ray.__all__)
