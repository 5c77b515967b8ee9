"""Records this store, and computes the right answers: `python record.py FOLDER`, with the flor_ray of README.md.

FOLDER is where the scripts are run; its name becomes the project's. What is kept comes into this script's own folder:

    store/           the store, as it is then
    hindsight/       the newest scripts with the statements whose values are asked for
    expected.json    what was logged, and what the statements log; and what that flor_ray reads from the store
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"

# run, its folder of SCRIPTS, its script, what follows that on the command line, hindsight features
OF_TRAINING = ["start_norms", "grad_norm", "weight_norm", "final_rate"]
RUNS = [
    ("first", "first", "train.py", [], OF_TRAINING),
    ("second", "second", "train.py", ["--kwargs", "lr=0.02", "hidden=6"], OF_TRAINING),
    ("third", "third", "train.py", [], OF_TRAINING),
    ("grown", "", "grow.py", ["--kwargs", "seed=4"], ["halved", "rounds"]),
    ("told", "", "events.py", [], ["doubled"]),
    ("kinds", "", "values.py", ["--rate", "0.25", "--sizes", "3", "5", "8"], []),
    ("crashed", "crashed", "train.py", ["--kwargs", "killed_in=3"], OF_TRAINING),
]
# feature -> script, the line after which its statement stands, and the statement
STATEMENTS = {
    "start_norms": ("train.py", 'flor.log("parameters"', "[sum(w * w for w in p.flatten().tolist()) ** 0.5 for p in net.parameters()]"),
    "grad_norm": ("train.py", "loss.backward()", "sum(g * g for p in net.parameters() for g in p.grad.flatten().tolist()) ** 0.5"),
    "weight_norm": ("train.py", "scheduler.step()", "sum(w * w for p in net.parameters() for w in p.flatten().tolist()) ** 0.5"),
    "final_rate": ("train.py", 'flor.log("best"', "scheduler.get_last_lr()[0]"),
    "halved": ("grow.py", 'state["size"] *=', 'state["size"] / 2'),
    "rounds": ("grow.py", 'state["trail"].append', 'len(state["trail"])'),
    "doubled": ("events.py", "total +=", "2 * total"),
}
REPLAYED = "bias_norm"  # logged by the newest train.py; answered for older ones by a replay, before the store was kept
PINNED = "net.eval()"  # line of the first train.py after which its statement is pinned


def with_statements(text, script):
    """A script with the statements whose values are asked for."""
    for name, (where, after, value) in STATEMENTS.items():
        if where == script:
            (line,) = [line for line in text.splitlines(keepends=True) if line.strip().startswith(after)]
            indent = line[: len(line) - len(line.lstrip())]
            text = text.replace(line, f'{line}{indent}flor.log("{name}", {value})\n')
    return text


def with_replayed(text):
    """The first three train.py with the statement that only the fourth has."""
    (line,) = [line for line in text.splitlines(keepends=True) if line.strip().startswith('flor.log("confusion"')]
    return text.replace(line, f'{line}        flor.log("{REPLAYED}", sum(b * b for b in net[-1].bias.tolist()) ** 0.5)\n')


def told(folder, script, words, change=str):
    """What a script logs, according to the flor_ray in `plain`, which keeps nothing; `change` is made to its text."""
    scratch = Path(tempfile.mkdtemp()) / "told"
    shutil.copytree(folder, scratch)
    (scratch / script).write_text(change((scratch / script).read_text()))
    variables = os.environ | {"TOLD": str(scratch / "rows"), "PYTHONPATH": str(HERE / "plain")}
    done = subprocess.run([sys.executable, script, *words], cwd=scratch, env=variables, check=False)
    assert done.returncode in (0, -9), script
    rows = [json.loads(line) for line in (scratch / "rows").read_text().splitlines()]
    shutil.rmtree(scratch.parent)
    return rows


def main():
    root = Path(sys.argv[1])
    root.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    for name in ("grow.py", "events.py", "values.py"):
        shutil.copy(SCRIPTS / name, root)
    for run, folder, script, words, _ in RUNS:
        if folder:
            shutil.copytree(SCRIPTS / folder, root, dirs_exist_ok=True)
        if run == "crashed":
            pin_and_replay(root)
        done = subprocess.run([sys.executable, script, "--flor", run, *words], cwd=root, check=False)
        assert done.returncode == (-9 if run == "crashed" else 0), run
    kept = [word for run, *_ in RUNS if run != "second" for word in ("--keep", f"run:{run}")]
    flor_ray(root, "gc", "--keep", "every:2", *kept, "--grace", "0", "--yes")

    expected = read_by_this_flor_ray(root)
    for run, folder, script, words, hindsight in RUNS:
        source = SCRIPTS / folder if folder else SCRIPTS
        entry = expected["runs"][run]
        entry["rows"] = told(source, script, words)
        if run == "crashed":
            words = ["--kwargs", "epochs=2"]  # a replay goes as far as the run did, and what follows the loop comes then
        later = told(source, script, words, lambda text, script=script: with_statements(text, script))
        entry["hindsight"] = {name: [row for row in later if row[3] == name] for name in hindsight}
        assert run == "crashed" or [row for row in later if row[3] not in hindsight] == entry["rows"]
        if run in ("first", "second", "third"):
            later = told(source, script, words, with_replayed)
            entry["replayed"] = {REPLAYED: [row for row in later if row[3] == REPLAYED]}
    (HERE / "expected.json").write_text("".join(as_json(expected)) + "\n")

    for name in ("train.py", "grow.py", "events.py"):
        (HERE / "hindsight").mkdir(exist_ok=True)
        (HERE / "hindsight" / name).write_text(with_statements((root / name).read_text(), name))
    shutil.copy(root / "net.py", HERE / "hindsight")
    shutil.copytree(root / ".flor", HERE / "store", ignore=shutil.ignore_patterns(".gitignore"))


def as_json(value, indent=""):
    """JSON, with one line for all that fits into it."""
    text = json.dumps(value)
    if len(text) < 400 or not isinstance(value, dict | list):
        yield text
        return
    keyed = isinstance(value, dict)
    for number, item in enumerate(value):
        yield ("[{"[keyed] if not number else ",") + f"\n{indent} "
        yield from (f"{json.dumps(item)}: ", *as_json(value[item], indent + " ")) if keyed else as_json(item, indent + " ")
    yield f"\n{indent}" + "]}"[keyed]


def flor_ray(root, *words):
    subprocess.run([sys.executable, "-m", "flor_ray.cli", *words], cwd=root, check=True)


def pin_and_replay(root):
    """Pin the statement in the first version, and have it answered for the three that lack it."""
    from flor_ray import pipeline
    from flor_ray.cluster.executors import ThreadExecutor
    from flor_ray.project import Project
    from flor_ray.terms import Terms

    project = Project.open(str(root))
    lines = (SCRIPTS / "first" / "train.py").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.strip() == PINNED]
    first = next(e for e in project.experiments() if e.run == "first")
    flor_ray(root, "propagate", REPLAYED, "--version", first.version, "--line", str(number))
    prepared = pipeline.prepare(project, [REPLAYED], terms=Terms(2))
    outcome = pipeline.run(prepared, ThreadExecutor())
    assert not outcome.failures, outcome.failures


def read_by_this_flor_ray(root):
    """All but the values: what the flor_ray that records finds in the store."""
    from flor_ray import calibrations, pins, timelines
    from flor_ray.project import Project

    project = Project.open(str(root))
    files, runs = project.store.files, {}
    for e in project.experiments():
        runs[e.run] = {
            "version": e.version,
            "parent": e.parent,
            "script": e.script,
            "status": e.status.value,
            "args": dict(e.args),
            "argv": list(e.argv),
            "main_loop": e.main_loop,
            "nested_loop": e.nested_loop,
            "epochs": e.epochs,
            "error": e.error,
            "profile": dataclasses.asdict(e.profile),
            "environment": {
                name: e.environment.get(name) for name in ("python", "machine", "cpu", "threads", "packages")
            },
            "checkpoints": [
                [c.epoch, c.point.value, sorted(c.captured), sorted(c.uncaptured)]
                for c in project.store.checkpoints(project.name, e.version)
            ],
            "sources": sorted(project.store.sources(project.name, e.version)),
        }
    return {
        "project": project.name,
        "runs": runs,
        "pins": [dataclasses.asdict(pin) for pin in pins.kept(files, project.name)],
        "calibrations": {kind: dataclasses.asdict(found) for kind, found in calibrations.kept(files).items()},
        "timelines": [dataclasses.asdict(timeline) for timeline in timelines.every(files, project.name)],
        "reports": project.store.replay_reports(project.name),
    }


if __name__ == "__main__":
    main()
