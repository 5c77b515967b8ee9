"""What is told to people about the bytes of a store, and about what gc will do and has done. Values in, text out."""

from __future__ import annotations

from collections.abc import Iterable

from flor_ray.reports.text_tables import render
from flor_ray.store.collecting import Done
from flor_ray.store.compacting.compaction import Compacted
from flor_ray.store.retention import CollectionPlan, StoreUsage, VersionPlan
from flor_ray.store.store import FilesUsed
from flor_ray.wording import counted, size

_EPOCHS_SHOWN = 40  # characters of a list of epochs in a table


def storage(found: StoreUsage, damage: Iterable[str] = ()) -> str:
    """A row per version, then the whole store."""
    rows = [
        [
            usage.version.version[:8],
            usage.version.run or "",
            str(usage.version.epochs),
            str(len(usage.version.checkpoints)),
            size(usage.logical_bytes),
            size(usage.own_bytes),
            size(usage.shared_bytes),
            size(usage.version.log_bytes),
        ]
        for usage in found.usages
    ]
    columns = ["version", "run", "epochs", "checkpoints", "hold", "own objects", "shared objects", "log records"]
    lines = [render(columns, rows), "", f"The store has {counted(found.objects, 'object')} of {size(found.bytes)}."]
    if found.ratio is not None:
        lines.append(
            f"All checkpoints hold {size(found.logical_bytes)} and are kept in {size(found.checkpoint_bytes)}: "
            f"dedup ratio {found.ratio:.1f}."
        )
    if found.unneeded:
        lines.append(
            f"No longer needed: {counted(found.unneeded, 'object')} of {size(found.unneeded_bytes)}. `flor-ray gc` "
            "deletes those that are old enough."
        )
    if found.missing:
        lines.append(
            f"Warning: {counted(len(found.missing), 'object')} that versions need "
            f"{'is' if len(found.missing) == 1 else 'are'} not in the store (such as {found.missing[0]}); restore "
            "the store from a backup, or replays start from other checkpoints."
        )
    return "\n".join([*lines, *(f"Warning: {sentence}" for sentence in damage)])


def storage_json(found: StoreUsage, damage: Iterable[str] = ()) -> dict[str, object]:
    """What a store holds, as `flor-ray storage --json` prints it: plain values, all sizes in bytes. `damage` are
    sentences on files that could not be read."""
    return {
        "versions": [
            {
                "version": usage.version.version,
                "run": usage.version.run or "",
                "epochs": usage.version.epochs,
                "checkpoints": len(usage.version.checkpoints),
                "logical_bytes": usage.logical_bytes,
                "own_bytes": usage.own_bytes,
                "shared_bytes": usage.shared_bytes,
                "log_bytes": usage.version.log_bytes,
            }
            for usage in found.usages
        ],
        "objects": found.objects,
        "bytes": found.bytes,
        "logical_bytes": found.logical_bytes,
        "checkpoint_bytes": found.checkpoint_bytes,
        "dedup_ratio": found.ratio,
        "unneeded_objects": found.unneeded,
        "unneeded_bytes": found.unneeded_bytes,
        "missing_objects": list(found.missing),
        "damage": list(damage),
    }


def plan(planned: CollectionPlan, grace: str) -> str:
    """What gc would do: a row per version that loses checkpoints, then the objects. `grace` is the user's own word."""
    going = [item for item in planned.versions if item.dropped]
    lines = []
    if going:
        columns = ["version", "run", "keeps", "of", "keeps epochs", "frees"]
        total = sum(len(item.version.checkpoints) for item in going)
        lines += [
            render(columns, [_row(item) for item in going]),
            "",
            f"Drops {planned.dropped} of {counted(total, 'checkpoint')} in {counted(len(going), 'version')}, of "
            f"{counted(len(planned.versions), 'version')} in all.",
        ]
    if planned.sweep.keys:
        left = planned.already
        lines.append(
            f"Deletes {counted(len(planned.sweep.keys), 'object')} of {size(planned.sweep.bytes)}"
            + (f"; {len(left.keys)} of {size(left.bytes)} of these are unneeded already." if left.keys else ".")
        )
    if planned.sweep.young:
        lines.append(
            f"Left for a later gc: {counted(planned.sweep.young, 'object')} of {size(planned.sweep.young_bytes)} that "
            + (
                "a run or replay that is going on may rely on."
                if planned.live
                else f"will be unneeded then, but were written within the grace of {grace} (--grace makes it shorter)."
            )
        )
    lines += [f"All checkpoints stay where {sentence}." for sentence in planned.live]
    return "\n".join(lines if planned.dropped or planned.sweep.keys else [*lines, "Nothing to delete."])


def _row(item: VersionPlan) -> list[str]:
    version = item.version
    epochs = sorted({c.epoch for c in version.checkpoints if (c.epoch, c.point) not in item.dropped})
    kept = str(len(version.checkpoints) - len(item.dropped))
    return [
        version.version[:8],
        version.run or "",
        kept,
        str(len(version.checkpoints)),
        _spans(epochs),
        size(item.bytes),
    ]


def _spans(epochs: Iterable[int]) -> str:
    """0, 5-7, 20; cut in the middle where that is too long."""
    spans: list[list[int]] = []
    for epoch in epochs:
        if spans and epoch == spans[-1][1] + 1:
            spans[-1][1] = epoch
        else:
            spans.append([epoch, epoch])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    text = ", ".join(words)
    return text if len(text) <= _EPOCHS_SHOWN else f"{', '.join(words[:4])}, ..., {', '.join(words[-2:])}"


def unfinished(count: int) -> str:
    """Nothing is said of nothing."""
    return f"Deleted {counted(count, 'file')} that killed writers had left half written." if count else ""


def done(what: Done, complete: bool) -> str:
    """What gc has done, and if it was stopped, what it has not."""
    text = (
        f"{'Dropped' if complete else 'Stopped. Dropped'} {counted(what.dropped, 'checkpoint')}, deleted "
        f"{counted(what.deleted, 'object')}: {size(what.bytes)} freed."
    )
    if complete:
        return f"{text} {unfinished(what.unfinished)}".rstrip()
    left = f"{counted(what.left, 'object')} more are still to be deleted. " if what.left else ""
    return f"{text} {left}The store is whole; run the same command again to finish."


def compacted(done: Compacted, before: FilesUsed, after: FilesUsed) -> str:
    """What compaction has done, and the files of runs and of log records before and after."""
    if not (done.written or done.deleted):
        return f"There is nothing to compact: runs and log records are in {counted(after.files, 'file')}."
    what = [counted(done.runs, "run")] * bool(done.runs) + [counted(done.records, "log record")] * bool(done.records)
    return (
        f"Compacted {' and '.join(what) or 'what had been left'}: {counted(before.files, 'file')} of "
        f"{size(before.bytes)} became {counted(after.files, 'file')} of {size(after.bytes)}."
    )
