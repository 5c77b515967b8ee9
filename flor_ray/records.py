"""The frozen vocabulary that every room shares: plain values, no I/O, no third-party imports.

Symbols in brackets are those of the paper's Tables 1 and 2 (p, v, e, s, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Level(StrEnum):
    """Log level [g]: where a value was logged."""

    DATA_PREP = "d"  # outside the main loop
    OUTER = "o"  # in the main loop
    INNER = "i"  # in a loop nested in the main loop


class Region(StrEnum):
    """Part of a script relative to its main loop, in the order in which they run.

    A statement's region decides how little has to run to answer it. `WHOLE` is the safe choice: it may run anywhere.
    """

    PREFIX = "prefix"  # before the main loop
    HEAD = "head"  # in an epoch, before the nested loop
    INNER = "inner"  # in the nested loop
    TAIL = "tail"  # in an epoch, after the nested loop
    SUFFIX = "suffix"  # after the main loop
    WHOLE = "whole"  # unknown, or several of the above: run everything


class Point(StrEnum):
    """Where in an epoch a checkpoint was taken."""

    NESTED_EXIT = "nested_exit"  # just after the epoch's first nested loop
    EPOCH_END = "epoch_end"  # after the epoch; epoch 0 is the entry of the main loop


class Status(StrEnum):
    """How a run ended, or that it has not."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # ended by an exception, Ctrl-C or SIGTERM
    CRASHED = "crashed"  # never said how it ended: SIGKILL, power, node loss


class Operator(StrEnum):
    """How a segment is replayed (paper, section 4.3.1)."""

    DP = "DP"  # prefix, and suffix from the final checkpoint
    DP_STAR = "DP*"  # the whole script, nothing skipped
    DP_I = "DP_i"  # a range of epochs from the checkpoint before it
    # Nothing runs: computed from arguments, or recorded under another name. Last epoch 0: outside the main loop.
    KNOWN = "known"


class Variant(StrEnum):
    """What a DP_i segment does with the nested loop."""

    OUTER = "outer"  # restores its exit state
    INNER = "inner"  # runs its steps
    END = "end"  # runs nothing of the epoch: restores its end, for statements that read nothing but that state


class Fidelity(StrEnum):
    """Whether a replay computed what was recorded, where it computed that again."""

    EXACT = "exact"  # all of it, bit for bit
    WITHIN_TOLERANCE = "within tolerance"  # nearly, and on other hardware than when it was recorded
    DIVERGED = "diverged"
    UNVERIFIED = "unverified"  # nothing that was recorded was computed again, or an input file has changed
    ADOPTED = "adopted"  # of a run from before flor_ray, of which only checkpoint files were kept: nothing to compare


# Stands for the parameters' .grad among a checkpoint's uncaptured names. They are left out only where the next step
# clears them before it reads them, so that only code between here and there can miss them.
GRADIENTS = "<gradients>"

# What a run's environment says of the run itself: the call with which it began (file and line), and how often its main
# loop was entered, if more than once.
FIRST_CALL, ENTRIES = "first_call", "main_loop_entries"
# And which of its words and arguments were secrets, with the variable of a replay's environment that has to hold each:
# of a word also what stands before it; of an argument "" where it was the script's own default.
HIDDEN_ARGV, HIDDEN_ARGS = "hidden_argv", "hidden_args"
# And, of a run of several processes, how many there were and how they were started.
RANKS = "ranks"
# And, of a run that another program recorded, which one, and what is known of it besides its values.
IMPORTED = "imported"
# And, of a run from before flor_ray that was adopted with its checkpoint files, what its script saves in them. A
# checkpoint of such a run never is a start: it says that it lacks NOT_KEPT, which is no variable.
ADOPTED, NOT_KEPT = "adopted", "<what the run did not save>"

# What users' source calls us. Scripts that were written for FlorDB import `flor`, whose calls mean what ours do.
PACKAGES = frozenset({"flor_ray", "flor"})
FACES = frozenset({"MTK"})  # the paper's face: its attributes are the functions
FUNCTIONS = frozenset({"arg", "autolog", "checkpointing", "iteration", "log", "loop"})
OLDER_NAMES: Mapping[str, str] = {"checkpoints": "checkpointing"}  # of the paper's face


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the store keeps it: one of the fields is set, according to `type`."""

    type: str
    number: float | None = None  # float
    integer: int | None = None  # int, bool
    text: str | None = None  # str, escaped, bigint, json, repr; the key in S of a blob that was read back
    blob: bytes | None = None  # BLOB_TYPES, before it is in S


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One logged value [row of F, without p and v]. Its key within a version is (epoch, step, name, iteration)."""

    level: Level
    epoch: int | None  # from 1; None outside the main loop
    step: int | None  # from 0; None outside nested loops
    name: str
    iteration: int  # ordinal of this name within (epoch, step), from 0
    value: Value
    timestamp: float  # unix seconds


@dataclass(frozen=True, slots=True)
class EpochTimes:
    """Measured seconds of one epoch's parts. Without a nested loop all of it is head."""

    epoch: int
    head_seconds: float
    inner_seconds: float
    tail_seconds: float
    steps: int | None = None  # of the longest of its nested loops; None: an older record does not say it

    @property
    def seconds(self) -> float:
        return self.head_seconds + self.inner_seconds + self.tail_seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured seconds of one recorded run: what a cost estimate starts from."""

    setup_seconds: float = 0.0  # from process start (imports included) to the main loop's entry, or to the end if none
    epochs: tuple[EpochTimes, ...] = ()
    suffix_seconds: float = 0.0  # from the main loop's exit to the process's end
    import_seconds: float = 0.0  # of set-up: importing modules, which a warm server has done before it forks
    steps: float = 0.0  # of an epoch's first nested loop: the median; 0 if not known


@dataclass(frozen=True, slots=True)
class Experiment:
    """One recorded run [row of E]. `version` is the shadow commit that holds the code which ran."""

    project: str
    version: str
    parent: str | None  # v̂
    script: str  # repository-relative path [n]
    run: str  # run name given with --flor, "" if none
    started: float  # unix seconds
    ended: float | None
    status: Status
    args: Mapping[str, object] = field(default_factory=dict)  # values of flor.arg [a]
    argv: tuple[str, ...] = ()  # what followed the script's name, without our flags
    cwd: str = "."  # in which it was started; relative to the repository's root if it is inside
    main_loop: str | None = None  # name of the main loop
    nested_loop: str | None = None  # name of the first nested loop
    epochs: int = 0  # main loop iterations that ended, by running through or by `break`
    profile: Profile = field(default_factory=Profile)
    environment: Mapping[str, object] = field(default_factory=dict)  # see `surroundings`; keys of random state, lock
    error: str | None = None  # how it failed, in one line

    @property
    def is_imported(self) -> bool:
        """Whether another program recorded it: there is no code of it, and nothing of it can be replayed."""
        return IMPORTED in self.environment

    @property
    def is_adopted(self) -> bool:
        """Whether it ran before flor_ray: of its epochs only the states in its own checkpoint files are known."""
        return ADOPTED in self.environment


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Restorable state at a point of the main loop [row of C]; `key` points into the object store S."""

    version: str
    filename: str  # file of the main loop, relative to the repository's root [n]
    line: int  # its line [l]
    epoch: int  # 0 is the entry of the main loop
    point: Point
    key: str  # manifest object in S
    bytes: int  # size of everything that the manifest refers to
    seconds: float  # time that taking it held up the training thread
    captured: frozenset[str] = frozenset()  # variables of the loop's frame that are in it
    uncaptured: frozenset[str] = frozenset()  # variables that the loop binds or changes, and that are not in it
    opaque: frozenset[str] = frozenset()  # objects that the loop uses and that cannot be kept: sockets, open files
    background_seconds: float = 0.0  # processor time that hashing and writing it took, in another thread
    why: str = ""  # what decided that it was taken


@dataclass(frozen=True, slots=True)
class Launch:
    """How the processes of one run were started [an entry of E's environment]."""

    size: int  # how many there were: the world size
    launcher: str = ""  # "torchrun", "ray train"; "": something else that sets RANK and WORLD_SIZE
    backend: str = ""  # of torch.distributed; "": not known
    local_size: int = 0  # ranks on the first one's machine; 0: not known
    command: tuple[str, ...] = ()  # that started them, as far as it can be seen
    # Order in which gradients are summed over ranks (`state.buckets`); None: not known, or there are several.
    buckets: tuple[int, ...] | None = None
    exchanged: tuple[str, ...] = ()  # files in which the first one read what another had written
    folder: str = ""  # in which Ray Train ran them, below the repository's root; "": one of its own


@dataclass(frozen=True, slots=True)
class RankRecord:
    """What a rank that is not the first keeps of its own, besides its checkpoints."""

    rank: int
    rng: str = ""  # its random states at its first call, base64 of a pickle
    host: str = ""
    first_call: tuple[str, int] | None = None  # with which it began: file and line
    exchanged: tuple[str, ...] = ()  # files in which it read what some rank had written
    inputs: tuple[Mapping[str, object], ...] = ()  # files that it read, as its run's environment has the first rank's


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file that a run writes is from some point of the run on."""

    epoch: int  # from this checkpoint on; FROM_START: as the run found it
    point: Point = Point.EPOCH_END
    kept: str = ""  # key in S of its content; or one of the words of flor_ray.environment.written_files
    mtime_ns: int = 0
    why: str = ""  # that content is not kept which the run read
    bytes: int | None = None  # its size; None: there is no file, or an older record does not say it


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that a run writes, or looks for and does not find."""

    path: str  # relative to the repository's root if it is inside, with slashes
    states: tuple[FileState, ...]  # in the order of the run


@dataclass(frozen=True, slots=True)
class Skip:
    """An epoch at whose end no checkpoint was taken [row of C without a key]."""

    epoch: int
    why: str
    times: EpochTimes


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a version [row of G]."""

    data: bytes  # b"" where the reader asked to skip this object id
    mode: str  # git's: 100644, 100755 (executable) or 120000 (symbolic link, data is its target)
    oid: str  # git's object id


@dataclass(frozen=True, slots=True)
class Statement:
    """A log statement found in a source file by a static scan."""

    name: str | None  # feature name; None if only a run can tell
    filename: str
    line: int  # first line of the statement, from 1
    end_line: int  # last line of the statement, inclusive
    definitions: tuple[str, ...] = ()  # enclosing functions and classes, outermost first


@dataclass(frozen=True, slots=True)
class Placement:
    """A statement carried to another version."""

    line: int  # its line in the newer source, from 1
    placed_line: int  # its line in the patched older source, from 1
    confidence: float  # 0 to 1
    renames: Mapping[str, str] = field(default_factory=dict)  # newer identifier -> older identifier
    why: str = ""
    present: bool = False  # it was there already; nothing was inserted


@dataclass(frozen=True, slots=True)
class Pin:
    """A place that the user has chosen: after this line of the older source."""

    after: int  # line of the older source, from 1; a compound statement's header: at the start of its body
    indent: int | None = None  # column of the block meant, where several end on that line; None: the innermost


@dataclass(frozen=True, slots=True)
class PinnedPlace:
    """A pin that was kept: it holds for this statement, in every file with these bytes."""

    name: str  # feature
    statement: str  # the statement's text where it was written, without its indentation
    ordinal: int  # among the equal statements of that file, from 0
    path: str  # of the file that it is put into
    blob: str  # `patching.blob_of` that file's text
    pin: Pin
    version: str  # of which the user looked at the file
    who: str = ""
    created: float = 0.0  # unix seconds


@dataclass(frozen=True, slots=True)
class Refusal:
    """A statement that propagation declined to carry over, with the reason; a value, not an exception."""

    line: int  # its line in the newer source, from 1
    reason: str
    best_guess: int | None = None  # line in the older source after which it might belong
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Where an epoch's wanted statements end: the rest of the main loop's body logs nothing of them."""

    path: str  # repository-relative, of the file that the main loop is in
    line: int  # last line of a statement of its body, from 1


@dataclass(frozen=True, slots=True)
class Propagation:
    """Outcome of carrying statements from a newer source to an older one."""

    source: str  # the older source with the placed statements inserted; all other text as it was
    placed: tuple[Placement, ...] = ()
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class TreePlacement:
    """A statement carried to a file of another version."""

    newer_path: str  # repository-relative
    older_path: str  # of the file that it is in there, which may have another name
    placement: Placement


@dataclass(frozen=True, slots=True)
class TreeRefusal:
    """A statement that was not carried to any file of another version."""

    newer_path: str
    refusal: Refusal
    older_path: str | None = None  # the file that `refusal.best_guess` is a line of; None: no file corresponds


@dataclass(frozen=True, slots=True)
class TreePropagation:
    """Outcome of carrying statements of several files to an older version. Each (path, line) is in it exactly once."""

    sources: Mapping[str, str] = field(default_factory=dict)  # older path -> patched text; changed files only
    placed: tuple[TreePlacement, ...] = ()  # both in the order of newer paths and lines
    refused: tuple[TreeRefusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Wanted values of one version that the store does not have."""

    version: str
    names: tuple[str, ...]
    epochs: tuple[int, ...]  # main loop epochs that lack them, ascending; () = wanted outside the main loop only
    data_prep: bool = False  # values outside the main loop are wanted too


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """An epoch range of one version, replayed by one worker without interruption."""

    version: str
    first: int  # first wanted epoch; 0 with operator DP
    last: int  # last wanted epoch, inclusive; 0 with operator DP
    operator: Operator
    variant: Variant = Variant.INNER
    restore: int | None = None  # restore the EPOCH_END checkpoint of this epoch first; None = run on from the prefix
    suffix: bool = False  # run the code after the main loop too (DP: from the final checkpoint; DP*: as it comes)
    names: tuple[str, ...] = ()

    @property
    def from_prefix(self) -> bool:
        """Whether it runs on from the script's start, so that it needs a process that has not entered its main loop."""
        if self.operator is Operator.DP_I:
            return self.restore is None and self.variant is not Variant.END
        return self.operator is Operator.DP_STAR

    def part(self, first: int, last: int) -> Segment:
        """Some of its epochs, as whoever runs them says it: they follow the epoch before, unless they are its first."""
        goes_on = first > self.first and self.variant is not Variant.END
        return replace(self, first=first, last=last, restore=first - 1 if goes_on else self.restore)

    @property
    def id(self) -> str:
        """Deterministic name of this segment within one replay of one version."""
        return f"{self.operator.name.lower()}-{self.first:06d}-{self.last:06d}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one replay runs, so that others need not: epochs of a version, with these statements in it."""

    version: str
    operator: Operator
    statements: tuple[tuple[str, str], ...]  # names, in order, each with a digest of what logs it there
    spans: tuple[tuple[int, int], ...]  # first and last epochs, ascending; (0, 0): outside the main loop


@dataclass(frozen=True, slots=True)
class Limits:
    """What the replay of one segment may take, and how much of it may be lost. More of seconds or bytes ends it, and
    nothing else."""

    seconds: float | None = None  # wall clock, the script's set-up included; infinity: no limit; None: as estimated
    memory_bytes: int | None = None  # of its process and those that this has started; None: 90 % of the machine's
    retries: int = 2  # further attempts after its worker or process was killed
    commit_seconds: float = 30.0  # after which what it has answered is written, at the end of an epoch
    outage_seconds: float = 600.0  # for which a store that is away is waited for
    # By estimate, of a step: the set-up with the first epoch, or a later epoch.
    late_seconds: float | None = None  # after which its place is told; None: never
    step_seconds: float | None = None  # after which it hangs, where there is no limit of `seconds`; None: never


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What each worker gets of a Ray cluster."""

    gpus: float | None = None  # 0.5: two workers share one; None: one, or none where the cluster has no GPU
    cpus: float | None = None  # None: one, or with a GPU none that would be counted
    memory_bytes: int | None = None  # that Ray counts; None: none
    accelerators: tuple[str, ...] = ()  # types of GPU, as Ray calls them, of which its GPUs are one; (): any
    labels: tuple[tuple[str, str], ...] = ()  # that its node has, with their values


ANY_SHAPE = WorkerShape()


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers that a replay counts on. Of each, the type of its GPU as Ray calls it; "" where nobody says it, and
    of those without a GPU."""

    shape: WorkerShape = ANY_SHAPE
    here: tuple[str, ...] = ()  # there is room for them now
    coming: tuple[str, ...] = ()  # on nodes that the cluster starts for them
    held: tuple[
        str, ...
    ] = ()  # room is theirs once others have given it back, which is counted on where nothing else is
    others: int = 0  # for so many more there would be room, if others did not hold it
    most: int | None = None  # that the user wants; None: all that there is room for, and that comes
    endless: bool = False  # the cluster says no number of nodes above which it starts none

    @property
    def types(self) -> tuple[str, ...]:
        return (*self.here, *self.coming, *self.held)

    @property
    def counted(self) -> int:
        """How many there should be."""
        return len(self.here) + len(self.coming) + len(self.held)


NOBODY = Crew()


@dataclass(frozen=True, slots=True)
class SegmentCost:
    """Estimated seconds of a segment. Set-up is paid once per (version, worker), the rest per segment.

    Spreads are standard deviations in seconds. What all segments of a replay have in common (the hindsight statement's
    own cost, a machine that is slower than thought) is not in them.
    """

    segment: Segment
    setup_seconds: float
    run_seconds: float
    known: bool = True  # False: nothing was measured that could tell, the seconds are a stand-in
    read_seconds: float = 0.0  # of run: reading checkpoints, which a worker that holds them need not
    read_bytes: int = 0
    setup_spread: float = 0.0
    run_spread: float = 0.0
    rank: float = 0.0  # what is lower runs first, as far as it costs no worker anything


@dataclass(frozen=True, slots=True)
class Mismatch:
    """First replayed value that differs from the recorded one."""

    name: str
    epoch: int | None
    step: int | None
    recorded: str
    replayed: str
    of_state: bool = False  # `name` is a variable of the state at the end of the epoch, and no feature


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a worker says of a segment that it has replayed."""

    segment: Segment
    rows: int
    setup_seconds: float  # files written, process forked, data prepared; 0 when the version's process was already warm
    run_seconds: float
    compared: int = 0  # recorded values that were recomputed and compared
    states_compared: int = 0  # recorded states that were come to again and compared
    mismatch: Mismatch | None = None
    warnings: tuple[str, ...] = ()
    doubtful: Mapping[str, str] = field(default_factory=dict)  # feature -> variable that no checkpoint could keep
    verdict: Fidelity = Fidelity.UNVERIFIED
    exact: int = 0  # of the compared values, those that were equal bit for bit
    clocked: int = 0  # recorded values that differ, and were expected to: they measure the clock
    measured: tuple[str, ...] = ()  # wanted features that measure the clock
    cause: str | None = None  # of what is not as recorded, most likely
    kind: str = ""  # of the worker: `hardware.kind`
    start_seconds: float = 0.0  # a worker's own start: importing libraries into its server, for this and later segments
    read_seconds: float = 0.0  # of run: reading and restoring checkpoints
    read_bytes: int = 0
    further_back: bool = False  # it began further back than it says: a state could not be put back
    cache_hits: int = 0  # objects that were found in its machine's cache; of this moment, and not kept


@dataclass(frozen=True, slots=True)
class LackingFile:
    """A file that a version's run read, and that a node does not have as it was read then."""

    path: str  # as it was recorded
    differs: bool = False  # another one is there
    optional: bool = False  # of a cache or of settings, which libraries fill or do without
    at_hand: bool = False  # whoever asks has it, and can put it into the store

    @property
    def passable(self) -> bool:
        """Whether the version may run without it where nobody has it: with another one, or with a warning."""
        return self.optional or (self.differs and not self.at_hand)


class Ending(StrEnum):
    """How a worker's time with a segment ended."""

    DONE = "done"
    FAILED = "failed"
    LOST = "lost"  # the worker was
    CANCELLED = "cancelled"  # another worker was faster


@dataclass(frozen=True, slots=True)
class Stint:
    """What one worker did from one moment to another. All of them are the timeline of a replay."""

    worker: str
    segment: Segment  # as it ended: its tail may have gone to another worker
    began: float  # seconds since the replay began
    ended: float
    ending: Ending
    setup_seconds: float = 0.0  # of its time, first: the worker's start, files, process, data
    estimated_seconds: float = 0.0  # for all of it, when it began
    kind: str = ""  # of the worker
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RunningStint:
    """What a worker is at."""

    worker: str
    segment: Segment  # what is left of it to answer
    began: float  # seconds since the replay began
    estimated_seconds: float  # for all of what it was told to run
    epoch: int = 0  # that it has begun; 0: none yet


@dataclass(slots=True)
class Outcome:
    """What became of the segments of a replay; it fills while the replay runs."""

    reports: list[SegmentReport] = field(default_factory=list)
    shared: list[SegmentReport] = field(default_factory=list)  # of other replays, which answered some of it
    failures: list[tuple[Segment, str]] = field(default_factory=list)
    stints: list[Stint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what the user should know of the replay as a whole
    lacking: dict[Segment, tuple[LackingFile, ...]] = field(default_factory=dict)  # of failures: what no node has

    @property
    def all_reports(self) -> list[SegmentReport]:
        """What this replay and others have said of what was wanted."""
        return [*self.reports, *self.shared]
