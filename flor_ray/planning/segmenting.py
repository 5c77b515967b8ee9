"""Gaps + checkpoints -> segments: the least that has to run again (paper, section 4.3.1: DP, DP*, DP_i).

Pure: values in, values out. What lives here chooses operators, restore points and epoch ranges; costs and workers
are the scheduler's. Every choice that a user might wonder about becomes a sentence in `Plan.notes`.

*Blocks.* An epoch can only start from a complete EPOCH_END checkpoint (nothing `uncaptured`), so these cut the main
loop into blocks. Whoever wants an epoch runs its block from the beginning, which is why one block is one segment:

    epochs             1   2   3   4   5   6   7   8
    EPOCH_END        0       2           5   6           complete ones, epoch 0 being the loop's entry
    blocks           |1   2| |3   4   5| |6| |7   8
    wanted                   .   4   5           8
    segments                 (3) 4-5             (7) 8   in brackets: run to warm up, not wanted

A worker runs epochs restore+1 .. last and keeps the rows of first .. last. Neighbouring blocks join when the earlier
one's last wanted epoch is where the later one starts: going on is then cheaper than restoring. They do not join over
unwanted epochs: restoring a checkpoint is taken to be cheaper than running an epoch, which is what the recorder's
spacing of checkpoints keeps true.

*Variants.* An epoch of which all wanted statements read nothing but the state at its end is END: that state is
restored, and nothing of the epoch is run. Of the others a block is OUTER (nested loops are not run, their exit state is
restored) when nobody wants a name in its nested loops and the exit states suffice: complete ones in every epoch but the
last (the next epoch goes on from them), and in the last one at least what the tail reads. Otherwise all of the block is
INNER.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.patching.patching import Patched
from flor_ray.records import (
    ENTRIES,
    GRADIENTS,
    Checkpoint,
    Experiment,
    Gap,
    Operator,
    Point,
    Region,
    Segment,
    Status,
    Variant,
)

_LOOP_REGIONS = (Region.HEAD, Region.INNER, Region.TAIL)


@dataclass(frozen=True, slots=True)
class Plan:
    """Segments to run, versions in the order of their gaps, and why they are what they are."""

    segments: tuple[Segment, ...] = ()
    notes: tuple[str, ...] = ()


def plan(
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    patched: Mapping[str, Patched],
) -> Plan:
    """Segments that together answer all gaps, each wanted (epoch, name) by exactly one.

    All mappings are by version. Of `patched` is read in which region each name is logged (one without a region may be
    logged anywhere), why that is more than its place, what the tail of the main loop reads, and what the state at an
    epoch's end can answer; of a version that it lacks, nothing is known. A version that needs DP* gets that one
    segment. Else its DP_i segments come in epoch order and DP last, since its process ends with the suffix. Raises
    KeyError for a gap whose version is not in `experiments`.
    """
    segments: list[Segment] = []
    notes: list[str] = []
    for version in dict.fromkeys(gap.version for gap in gaps):
        patch = patched.get(version, Patched())
        wants = _wants([gap for gap in gaps if gap.version == version], patch.regions)
        states = _RestorableStates(
            checkpoints.get(version, ()), patch.tail_reads, patch.marking.from_end, patch.made_in_steps
        )
        new_segments, new_notes = _plan_version(experiments[version], wants, states, patch)
        segments += new_segments
        notes += [f"version {version[:8]}: {note}" for note in new_notes]
    if adopted := {s.version for s in segments if experiments[s.version].is_adopted}:
        which = "version was" if len(adopted) == 1 else "versions were"
        notes.append(
            f"{len(adopted)} {which} adopted: nothing was recorded with which the values of "
            f"{'it' if len(adopted) == 1 else 'them'} could be compared"
        )
    return Plan(tuple(segments), tuple(notes))


def split_points(segment: Segment, checkpoints: Iterable[Checkpoint]) -> tuple[int, ...]:
    """Epochs at which a DP_i segment may be cut: a piece can begin there, the epoch before having ended completely."""
    if segment.operator is not Operator.DP_I:
        return ()
    if segment.variant is Variant.END:
        return tuple(range(segment.first + 1, segment.last + 1))
    states = _RestorableStates([c for c in checkpoints if c.version == segment.version], None)
    return tuple(e for e in range(segment.first + 1, segment.last + 1) if states.starts(e))


def cut(segment: Segment, points: Iterable[int]) -> tuple[Segment, ...]:
    """The segment in pieces, one beginning at each of `points`, which must be some of its split points.

    The first piece keeps the segment's restore point and so its warm-up. Raises ValueError for a point outside.
    """
    begins = sorted(set(points))
    for point in begins:
        if segment.operator is not Operator.DP_I or not segment.first < point <= segment.last:
            raise ValueError(
                f"{segment} cannot be cut at epoch {point}: a cut lies after its first epoch, up to its last"
            )
    firsts = [segment.first, *begins]
    lasts = [*(point - 1 for point in begins), segment.last]
    return tuple(
        replace(segment, first=first, last=last, restore=_restored(segment, first))
        for first, last in zip(firsts, lasts, strict=True)
    )


def _restored(segment: Segment, first: int) -> int | None:
    """The epoch whose end is restored before a piece of a segment that begins with epoch `first`."""
    return segment.restore if first == segment.first or segment.variant is Variant.END else first - 1


def epochs_worth_leaving(
    experiment: Experiment, checkpoints: Iterable[Checkpoint], bytes_per_second: float
) -> frozenset[int]:
    """Epochs whose end is restored sooner than what comes after their nested loop has run, by the recorded times.

    Where nothing more is wanted of such an epoch, a segment goes on with its recorded end. (A last epoch is left in any
    case.)
    """
    states = _RestorableStates(checkpoints, None)
    found = set()
    for times in experiment.profile.epochs:
        end, exit_ = states.get(times.epoch, Point.EPOCH_END), states.get(times.epoch, Point.NESTED_EXIT)
        if end is None or not states.complete(times.epoch, Point.EPOCH_END):
            continue
        saved = times.tail_seconds + (0 if exit_ is None else exit_.bytes / bytes_per_second)
        if end.bytes / bytes_per_second < saved:
            found.add(times.epoch)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Wants:
    """What the gaps of one version ask for, by region. Names are kept in the order of the gaps."""

    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    whole: tuple[str, ...]
    epochs: Mapping[int, tuple[str, ...]]  # wanted epoch -> names logged in the main loop, ascending
    inner: frozenset[int]  # wanted epochs of which a name is logged in a nested loop

    @property
    def names(self) -> tuple[str, ...]:
        looped = (name for names in self.epochs.values() for name in names)
        return tuple(sorted({*self.prefix, *self.suffix, *self.whole, *looped}))


def _wants(gaps: Sequence[Gap], regions: Mapping[str, Region]) -> _Wants:
    outside: dict[Region, dict[str, None]] = {Region.PREFIX: {}, Region.SUFFIX: {}, Region.WHOLE: {}}
    epochs: dict[int, set[str]] = {}
    inner: set[int] = set()
    for gap in gaps:
        for name in gap.names:
            region = regions.get(name, Region.WHOLE)
            if region in _LOOP_REGIONS:
                for epoch in gap.epochs:
                    epochs.setdefault(epoch, set()).add(name)
                inner.update(gap.epochs if region is Region.INNER else ())
            elif gap.data_prep or (region is Region.WHOLE and gap.epochs):
                outside[region][name] = None
    return _Wants(
        prefix=tuple(outside[Region.PREFIX]),
        suffix=tuple(outside[Region.SUFFIX]),
        whole=tuple(outside[Region.WHOLE]),
        epochs={epoch: tuple(sorted(epochs[epoch])) for epoch in sorted(epochs)},
        inner=frozenset(inner),
    )


class _RestorableStates:
    """The restorable states of one version. Of several checkpoints of one place the most complete one counts."""

    def __init__(
        self,
        checkpoints: Iterable[Checkpoint],
        tail_reads: frozenset[str] | None,
        from_end: Mapping[str, frozenset[str]] | None = None,
        made_in_steps: frozenset[str] = frozenset(),
    ) -> None:
        self._tail_reads = tail_reads
        self.made_for_tail = made_in_steps if tail_reads is None else made_in_steps & tail_reads
        self._from_end = from_end or {}
        self._at: dict[tuple[int, Point], Checkpoint] = {}
        for c in sorted(checkpoints, key=lambda c: (len(c.uncaptured), c.key)):
            self._at.setdefault((c.epoch, c.point), c)

    def get(self, epoch: int, point: Point) -> Checkpoint | None:
        return self._at.get((epoch, point))

    def complete(self, epoch: int, point: Point) -> bool:
        checkpoint = self.get(epoch, point)
        if checkpoint is None:
            return False
        if self._tail_reads is None or GRADIENTS in self._tail_reads:
            return not checkpoint.uncaptured
        return checkpoint.uncaptured <= {GRADIENTS}  # the next epoch clears them

    def starts(self, epoch: int) -> bool:
        """Whether a segment can begin at this epoch without warming up."""
        return self.complete(epoch - 1, Point.EPOCH_END)

    def start(self, epoch: int) -> int | None:
        """The nearest epoch before this one whose end can be restored; None: only the prefix leads here."""
        return next((e - 1 for e in range(epoch, 0, -1) if self.starts(e)), None)

    def end_answers(self, epoch: int, names: Iterable[str]) -> bool:
        """Whether the state at this epoch's end is all that these features need."""
        checkpoint = self.get(epoch, Point.EPOCH_END)
        if checkpoint is None or not checkpoint.uncaptured <= checkpoint.opaque:
            return False  # (what runs there does not come to what is opaque)
        return all(name in self._from_end and self._from_end[name] <= checkpoint.captured for name in names)

    def missed_by_tail(self, epoch: int) -> frozenset[str] | None:
        """What the tail may read, and the nested loop's exit state lacks: variables that it reads, and all that is no
        variable; None: no such state."""
        checkpoint = self.get(epoch, Point.NESTED_EXIT)
        if checkpoint is None:
            return None
        if self._tail_reads is None:
            return checkpoint.uncaptured
        others = {name for name in checkpoint.uncaptured if not name.isidentifier()} - {GRADIENTS}
        return checkpoint.uncaptured & (self._tail_reads | others | checkpoint.opaque)

    def uncaptured_between(self, start: int, end: int) -> tuple[str, ...]:
        """Variables that keep the EPOCH_END checkpoints of epochs start..end from being complete, sorted."""
        found = [self.get(epoch, Point.EPOCH_END) for epoch in range(start, end + 1)]
        return tuple(sorted({name for checkpoint in found if checkpoint for name in checkpoint.uncaptured}))


def _plan_version(
    experiment: Experiment, wants: _Wants, states: _RestorableStates, patch: Patched
) -> tuple[list[Segment], list[str]]:
    if not wants.names:
        return [], []
    if experiment.is_adopted:
        return _plan_adopted(experiment, wants, states)
    notes, whys = _unfinished_note(experiment, wants), patch.whys
    reason = _why_everything(experiment, wants, states, patch)
    if reason:
        return [_everything(experiment, wants)], [*notes, reason]
    segments, loop_notes = _plan_loop(experiment, wants, states)
    notes += [f"{_quoted([n])} needs more than its place suggests: {whys[n]}" for n in wants.names if whys.get(n)]
    notes += loop_notes
    if wants.prefix or wants.suffix:
        restore = experiment.epochs if wants.suffix else None
        names = tuple(sorted({*wants.prefix, *wants.suffix}))
        dp = Segment(experiment.version, 0, 0, Operator.DP, restore=restore, suffix=bool(wants.suffix), names=names)
        segments.append(dp)
    return segments, notes


def _plan_adopted(experiment: Experiment, wants: _Wants, states: _RestorableStates) -> tuple[list[Segment], list[str]]:
    """Of a run from before flor_ray, what its own checkpoint files answer. Nothing of it is trained again: nobody kept
    the random states that its epochs went on from."""
    ends = [epoch for epoch, names in wants.epochs.items() if states.end_answers(epoch, names)]
    segments = _end_segments(experiment, ends, wants)
    notes = []
    if wants.prefix:
        segments.append(Segment(experiment.version, 0, 0, Operator.DP, names=tuple(sorted(wants.prefix))))
    if lacking := [epoch for epoch in wants.epochs if epoch not in ends]:
        notes.append(f"it was adopted without a checkpoint file of {_epochs(lacking)}, which stay without values")
    if left := sorted({*wants.suffix, *wants.whole}):
        notes.append(f"{_quoted(left)} would take a training: of an adopted version, only ends of epochs are known")
    return segments, notes


def _everything(experiment: Experiment, wants: _Wants) -> Segment:
    """DP*. Code after the main loop of a run that did not finish is run only for names that are logged nowhere else, or
    where that loop is entered again: what it logs otherwise would look like values of the record, which never had
    them."""
    suffix = experiment.status is Status.FINISHED or experiment.main_loop is None or bool(wants.suffix)
    suffix = suffix or ENTRIES in experiment.environment
    first = min(1, experiment.epochs)
    return Segment(experiment.version, first, experiment.epochs, Operator.DP_STAR, suffix=suffix, names=wants.names)


def _why_everything(experiment: Experiment, wants: _Wants, states: _RestorableStates, patch: Patched) -> str | None:
    """Why nothing less than DP* will do, in words; None if less will do."""
    if experiment.main_loop is None:
        return "it has no main loop to skip, so the whole script is replayed"
    if wants.whole:
        known = "; ".join(dict.fromkeys(patch.whys[name] for name in wants.whole if patch.whys.get(name)))
        because = f" ({known})" if known else ""
        return f"{_quoted(wants.whole)} may be logged anywhere in the script{because}, so the whole script is replayed"
    if not wants.suffix:
        return None
    final = states.get(experiment.epochs, Point.EPOCH_END)
    logged = f"{_quoted(wants.suffix)} {'is' if len(wants.suffix) == 1 else 'are'} logged after the main loop"
    if final is None:
        return f"{logged} and no checkpoint of the last epoch's end exists, so the whole script is replayed"
    if final.uncaptured:
        lost = _variables(sorted(final.uncaptured))
        return f"{logged} and {lost} could not be captured at its end, so the whole script is replayed"
    if patch.missed_after:
        made = _quoted(sorted(patch.missed_after))
        return f"{logged}, where {made} is read, which only added lines make, so the whole script is replayed"
    return None


def _unfinished_note(experiment: Experiment, wants: _Wants) -> list[str]:
    if experiment.status is Status.FINISHED:
        return []
    if ENTRIES in experiment.environment:
        return [
            f"the recorded run {experiment.status} after it had entered its main loop "
            f"{experiment.environment[ENTRIES]} times; if nothing stops its replay there, that goes on"
        ]
    if not wants.suffix:
        return []
    return [
        f"the recorded run {experiment.status} after {_count(experiment.epochs)}, so it may never have reached "
        f"{_quoted(wants.suffix)}; the replayed value is what the script logs after that many epochs"
    ]


def _plan_loop(experiment: Experiment, wants: _Wants, states: _RestorableStates) -> tuple[list[Segment], list[str]]:
    """One segment per block with wanted epochs, joined where one goes on into the next; and one per row of epochs of
    which no more than the state at their end is needed."""
    ends = [epoch for epoch, names in wants.epochs.items() if states.end_answers(epoch, names)]
    blocks: dict[int | None, list[int]] = {}
    for epoch in wants.epochs:
        if epoch not in ends:
            blocks.setdefault(states.start(epoch), []).append(epoch)
    segments: list[Segment] = []
    why_inner: dict[str, list[int]] = {}
    for restore, epochs in blocks.items():
        reason = _why_inner(experiment, restore, epochs, wants, states)
        variant = Variant.OUTER if reason is None else Variant.INNER
        if reason:
            why_inner.setdefault(reason, []).extend(epochs)
        names = tuple(sorted({name for epoch in epochs for name in wants.epochs[epoch]}))
        version, first, last = experiment.version, epochs[0], epochs[-1]
        segment = Segment(version, first, last, Operator.DP_I, variant, restore, names=names)
        if segments and _goes_on(segments[-1], segment, states):
            merged = tuple(sorted({*segments[-1].names, *names}))
            segments[-1] = replace(segments[-1], last=last, names=merged)
        else:
            segments.append(segment)
    notes = [f"the nested loop of {_epochs(epochs)} has to run, because {why}" for why, epochs in why_inner.items()]
    notes += _warm_up_notes(segments, states)
    return sorted([*segments, *_end_segments(experiment, ends, wants)], key=lambda s: s.first), notes


def _end_segments(experiment: Experiment, ends: Sequence[int], wants: _Wants) -> list[Segment]:
    segments: list[Segment] = []
    for epoch in ends:
        names = wants.epochs[epoch]
        if segments and segments[-1].last == epoch - 1 and segments[-1].names == names:
            segments[-1] = replace(segments[-1], last=epoch)
        else:
            segments.append(Segment(experiment.version, epoch, epoch, Operator.DP_I, Variant.END, names=names))
    return segments


def _goes_on(earlier: Segment, later: Segment, states: _RestorableStates) -> bool:
    """Whether the later segment starts where the earlier one stops, in a state that the earlier one leaves right."""
    if later.restore != earlier.last or later.variant is not earlier.variant:
        return False
    return earlier.variant is Variant.INNER or states.complete(earlier.last, Point.NESTED_EXIT)


def _why_inner(
    experiment: Experiment, restore: int | None, epochs: Sequence[int], wants: _Wants, states: _RestorableStates
) -> str | None:
    """Why a block's nested loops have to run: None if they need not, "" if that is what was asked for."""
    if experiment.nested_loop is None or any(epoch in wants.inner for epoch in epochs):
        return ""
    if restore is None:
        return "it can only be reached from the start of the script"
    last = epochs[-1]
    incomplete = [epoch for epoch in range(restore + 1, last) if not states.complete(epoch, Point.NESTED_EXIT)]
    missed = states.missed_by_tail(last)
    if missed is None or any(states.get(epoch, Point.NESTED_EXIT) is None for epoch in incomplete):
        return "not every exit state on the way there was checkpointed"
    if states.made_for_tail:
        return f"what follows it reads {_quoted(sorted(states.made_for_tail))}, which only added lines make"
    found = [states.get(epoch, Point.NESTED_EXIT) for epoch in incomplete]
    lost = sorted({*missed, *(name for checkpoint in found if checkpoint for name in checkpoint.uncaptured)})
    return f"{_variables(lost)} could not be captured at its exit" if lost else None


def _warm_up_notes(segments: Sequence[Segment], states: _RestorableStates) -> list[str]:
    """Why epochs that nobody asked for are run first; one sentence for all segments with the same reason."""
    unlike: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for segment in segments:
        begin = 0 if segment.restore is None else segment.restore + 1
        lost = states.uncaptured_between(begin, segment.first - 1)
        if lost or segment.first > (segment.restore or 0) + 1:
            source = "the start" if segment.restore is None else "the nearest complete checkpoint"
            unlike.setdefault((lost, source), []).extend(range(segment.first, segment.last + 1))
    return [
        f"{_variables(lost)} could not be captured, so {_epochs(epochs)} can only be replayed from {source}"
        if lost
        else f"no checkpoint right before {_epochs(epochs)} exists, so the replay begins at {source}"
        for (lost, source), epochs in unlike.items()
    ]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _variables(names: Iterable[str]) -> str:
    """`net` and what else a checkpoint may lack, such as the file best.pt, which has a space in its name."""
    names = list(names)
    variables = [name for name in names if " " not in name]
    said = [f"variable{'' if len(variables) == 1 else 's'} {_quoted(variables)}"] if variables else []
    return ", ".join([*said, *(name for name in names if " " in name)])


def _count(epochs: int) -> str:
    return f"{epochs} epoch{'' if epochs == 1 else 's'}"


def _epochs(epochs: Sequence[int]) -> str:
    """`epoch 4`, or `epochs 1-3, 7`."""
    runs: list[list[int]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][1] + 1:
            runs[-1][1] = epoch
        else:
            runs.append([epoch, epoch])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"epoch{'' if len(epochs) == 1 else 's'} {text}"
