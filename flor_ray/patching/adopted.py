"""Versions that were adopted with checkpoint files: their texts are read with our calls in them, and of the features
that are carried into them, those are refused that the states in these files cannot answer. Pure."""

from __future__ import annotations

from dataclasses import replace

from flor_ray.analysis.adopting.answers import answers
from flor_ray.analysis.adopting.script import AdoptedScript, EpochsOf, with_our_calls
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.marks import inserted_lines, marks_of, own_names
from flor_ray.analysis.source import Texts
from flor_ray.patching.patching import Patched
from flor_ray.records import ADOPTED, Experiment
from flor_ray.store import typed_json


def script_of(experiment: Experiment) -> AdoptedScript:
    """What is kept of an adopted version's script."""
    return typed_json.from_plain(experiment.environment[ADOPTED], AdoptedScript)


def as_read(experiment: Experiment, texts: Texts) -> dict[str, str]:
    """A version's texts as they are read and replayed: an adopted one's script with our calls in it."""
    found = dict(texts)
    if experiment.is_adopted and experiment.script in found:
        found[experiment.script] = with_our_calls(found[experiment.script], script_of(experiment))
    return found


def answerable(experiment: Experiment, texts: Texts, patched: Patched) -> Patched:
    """What was carried into an adopted version, without what its checkpoint files cannot answer."""
    adopted, script = script_of(experiment), experiment.script
    files = {**texts, **patched.files}
    found = answers(adopted, script, files, [*patched.regions])
    replaced = {script: files[script]} if adopted.epochs_of is EpochsOf.SCRIPT and script in files else {}
    regions = {n: found.regions.get(n, region) for n, region in patched.regions.items() if n not in found.refused}
    marks = {path: replace(each, stops=frozenset()) for path, each in patched.marking.marks.items()}
    if found.lines and script in files:
        hindsight = inserted_lines(texts[script], files[script])
        at_end = marks_of(read_all(files)[script], own_names(files), hindsight, at_end=found.lines)
        marks[script] = replace(at_end, guards_end=True)
    marking = replace(patched.marking, marks=marks, stops={}, from_end=found.needs)
    return replace(
        patched,
        files={**replaced, **patched.files},
        regions=regions,
        refused={**patched.refused, **found.refused},
        marking=marking,
        clues={name: clues for name, clues in patched.clues.items() if name in regions and name not in found.regions},
    )
