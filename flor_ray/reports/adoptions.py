"""What is told of runs that are adopted: their files, and what of the script each part of a file fills. Values in, text
out."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from flor_ray.adopting.keeping import Adoption, AdoptionFate
from flor_ray.adopting.proposing import AdoptionProposal
from flor_ray.analysis.adopting.script import EpochsOf
from flor_ray.reports.text_tables import render
from flor_ray.wording import counted, size

_MOST_ROWS = 60
_WHO = {EpochsOf.HUGGING_FACE: "transformers.Trainer.train()", EpochsOf.LIGHTNING: "Lightning's Trainer.fit(...)"}


def proposed(what: AdoptionProposal) -> str:
    """A table of a run's files, and where its epochs are."""
    adopted = what.adopted
    command = " ".join([what.command.script, *what.command.argv])
    lines = [f"{what.terms.run or what.terms.checkpoints}: {command} at {what.commit[:8]}"]
    rows = []
    for file, epoch in what.files[:_MOST_ROWS]:
        held = [f"{state.key or 'the file'}: {file.states.get(state.key, '')}" for state in adopted.states]
        fills = ", ".join(state.expression for state in adopted.states)
        if adopted.values:
            fills = ", ".join([fills, *sorted(adopted.values.values())])
        told = "" if epoch is not None else file.why_not or "it is not of the end of an epoch"
        rows.append([file.path, "" if epoch is None else str(epoch), told or "; ".join(held), "" if told else fills])
    lines.append(render(["file", "epoch", "holds", "fills"], rows, 10_000, whole=("file", "epoch")))
    if len(what.files) > _MOST_ROWS:
        lines.append(f"... and {len(what.files) - _MOST_ROWS} more files")
    where = _WHO.get(adopted.epochs_of) or f"the loop in line {adopted.loop} of {what.command.script}"
    lines.append(f"Epochs are run by {where}.")
    lines += [f"Note: {note}" for note in what.notes]
    return "\n".join(lines)


def done(adoptions: Sequence[Adoption], dry_run: bool) -> str:
    """A line per run, then how many became what."""
    rows = [
        [
            "" if one.fate is AdoptionFate.NEW and dry_run else one.experiment.version[:8],
            one.experiment.run,
            datetime.datetime.fromtimestamp(one.experiment.started, datetime.UTC).strftime("%Y-%m-%d %H:%M"),
            str(one.experiment.epochs),
            size(one.bytes) if one.bytes else "",
            one.fate.value if not (dry_run and one.fate is AdoptionFate.NEW) else "would be adopted",
        ]
        for one in adoptions
    ]
    fates = Counter(one.fate for one in adoptions)
    new = fates.pop(AdoptionFate.NEW, 0)
    verb = "would be" if dry_run else "is" if new == 1 else "are"
    others = "".join(f", {count} {fate}" for fate, count in sorted(fates.items()))
    table = render(["version", "run", "began", "epochs", "copied", "outcome"], rows, 10_000, whole=("version", "began"))
    return f"{table}\n\n{counted(new, 'run')} {verb} adopted{others}."
