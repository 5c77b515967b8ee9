"""Replayed values are compared with the recorded ones bit for bit, and what differs is explained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import blake3
import numpy as np
import pytest

from flor_ray.environment import hardware
from flor_ray.records import Fidelity, Level, LogRecord, Mismatch, Operator, Segment, SegmentReport, Value
from flor_ray.replaying.causes import UNKNOWN, Evidence, likely_cause
from flor_ray.replaying.fidelity import Comparison, RecordedValues, compare, judge
from flor_ray.replaying.results import Judgement, judged
from flor_ray.reports import replays
from flor_ray.store.typed_values import encode

LOSS = Mismatch("loss", 2, None, "0.5", "0.7")
STATE = Mismatch("net.0.weight", 2, None, "Tensor(3,)", "another, by up to 0.1", of_state=True)
HERE = {"machine": "x86_64", "cpu": "A", "threads": 2, "gpus": [], "packages": {"torch": "2.9", "numpy": "2.1"}}


def record(value: Any, name: str = "x", epoch: int = 1, step: int | None = None) -> LogRecord:
    return LogRecord(Level.OUTER, epoch, step, name, 0, encode(value), 0.0)


def stored(value: Any) -> Value:
    """As it is read back: a blob has become its key."""
    encoded = encode(value)
    if encoded.blob is None:
        return encoded
    return Value(encoded.type, text=blake3.blake3(encoded.blob).hexdigest())


def compared(was: Any, now: Any, tolerant: bool = False) -> Comparison:
    recorded = RecordedValues({(1, None, "x", 0): stored(was)}, lambda key: encode(was).blob or b"")
    found = compare(recorded, [record(now)], tolerant=tolerant)
    assert found.compared == 1
    return found


@pytest.mark.parametrize(
    "value",
    [1, 0.1, -0.0, math.nan, math.inf, 2**70, True, None, "text", "\ud800", [1, {"a": [None]}], b"bytes", np.zeros(3)],
    ids=repr,
)
def test_a_value_equals_itself(value: Any) -> None:
    assert compared(value, value) == Comparison(1, 1)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (0.0, -0.0),
        (1, 1.0),
        (True, 1),
        (0.1, math.nextafter(0.1, 1)),
        (math.nan, 0.0),
        (0.0, math.nan),
        (math.inf, -math.inf),
        ("a", "b"),
        (None, "None"),
        ([1, 2], [1, 2.0]),
        (b"a", b"b"),
        (np.zeros(3), np.zeros(3, dtype=np.float32)),
        (np.array([0.0]), np.array([-0.0])),
    ],
    ids=repr,
)
def test_values_that_differ_in_type_or_bits_are_told(was: Any, now: Any) -> None:
    assert compared(was, now).mismatch is not None
    assert compared(now, was).mismatch is not None


def test_the_first_difference_is_told_and_what_was_not_recorded_is_not_compared() -> None:
    recorded = RecordedValues({(epoch, None, "x", 0): encode(float(epoch)) for epoch in (1, 2, 3)})
    replayed = [record(1.0), record(9.0, "new"), record(2.5, epoch=2), record(3.5, epoch=3)]
    mismatch = Mismatch("x", 2, None, "2.0", "2.5")
    assert compare(recorded, replayed) == Comparison(3, 1, 0, mismatch, close=False)


def test_what_depends_on_the_clock_counts_if_it_is_equal_and_is_set_apart_if_not() -> None:
    recorded = RecordedValues({(1, None, name, 0): encode(1.0) for name in ("seconds", "limit")})
    replayed = [record(2.0, "seconds"), record(1.0, "limit")]
    assert compare(recorded, replayed, frozenset({"seconds", "limit"})) == Comparison(1, 1, clocked=1)


@pytest.mark.parametrize(
    ("was", "now", "close"),
    [
        (1.0, 1.00005, True),
        (1.0, 1.001, False),
        (0.0, 1e-9, False),
        (math.nan, 1.0, False),
        (3, 4, False),
        (True, False, False),
        ("a", "b", False),
        ([1.0, {"a": 2.0}], [1.00001, {"a": 2.00001}], True),
        ([1.0, 2], [1.0, 3], False),
        ([1.0], [1.0, 1.0], False),
        (np.array([1.0, 1e-9]), np.array([1.00001, -1e-9]), True),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), False),
        (np.array([1, 2]), np.array([1, 3]), False),
        (b"a", b"b", False),
    ],
    ids=repr,
)
def test_numbers_alone_may_be_nearly_equal(was: Any, now: Any, close: bool) -> None:
    assert compared(was, now, tolerant=True).close is close


@pytest.mark.parametrize(
    ("comparison", "states", "state", "elsewhere", "changed", "verdict"),
    [
        (Comparison(5, 5), 0, None, False, False, Fidelity.EXACT),
        (Comparison(5, 5), 0, None, True, False, Fidelity.EXACT),
        (Comparison(), 1, None, False, False, Fidelity.EXACT),
        (Comparison(), 0, None, False, False, Fidelity.UNVERIFIED),
        (Comparison(clocked=3), 0, None, False, False, Fidelity.UNVERIFIED),
        (Comparison(5, 5), 0, None, False, True, Fidelity.UNVERIFIED),
        (Comparison(5, 4, 0, LOSS, close=True), 0, None, False, False, Fidelity.DIVERGED),
        (Comparison(5, 4, 0, LOSS, close=True), 0, None, True, False, Fidelity.WITHIN_TOLERANCE),
        (Comparison(5, 4, 0, LOSS, close=False), 0, None, True, False, Fidelity.DIVERGED),
        (Comparison(5, 4, 0, LOSS, close=True), 0, None, True, True, Fidelity.DIVERGED),
        (Comparison(5, 5), 1, STATE, False, False, Fidelity.DIVERGED),
        (Comparison(5, 5), 1, STATE, True, False, Fidelity.WITHIN_TOLERANCE),
        (Comparison(), 1, STATE, True, False, Fidelity.DIVERGED),
    ],
)
def test_the_verdict_on_a_segment(
    comparison: Comparison, states: int, state: Mismatch | None, elsewhere: bool, changed: bool, verdict: Fidelity
) -> None:
    assert judge(comparison, states, state, elsewhere, changed) is verdict


SCRIPT = """
import os
import flor_ray as flor
for epoch in flor.loop("epoch", range(3)):
    os.environ["COUNT"] = str(epoch)
"""


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (Evidence(("data.csv has changed",), ("state.txt",)), "data.csv has changed"),
        (
            Evidence(environment=HERE | {"cpu": "B"}, rewritten=("state.txt",)),
            "it was replayed on other hardware: processor A instead of B",
        ),
        (
            Evidence(environment=HERE | {"packages": {"torch": "2.4"}}),
            "it was replayed with other packages: torch 2.9 instead of 2.4",
        ),
        (
            Evidence(
                uncaptured=frozenset({"sock"}), script='import flor\nloss = sock.read()\nflor.log("loss", loss)\n'
            ),
            "loss depends on `sock`, which no checkpoint could keep",
        ),
        (
            Evidence(rewritten=("state.txt",), script=SCRIPT),
            "the script writes and reads state.txt, and its replay could not have what it read there",
        ),
        (
            Evidence(script=SCRIPT),
            "the script sets the environment variable COUNT in a loop, and checkpoints do not contain "
            "environment variables",
        ),
        (
            Evidence(script="import ctypes\nn = ctypes.c_int(0)\n"),
            "the script keeps state in C memory, through ctypes (line 2), which checkpoints cannot hold",
        ),
        (
            Evidence(modules={"model.py": "@functools.lru_cache(None)\ndef f(): pass\n"}),
            "the script keeps state in a function's cache (model.py, line 1), which checkpoints cannot hold",
        ),
        (
            Evidence(script="import uuid\nx = uuid.uuid4()\n"),
            "uuid.uuid4() (line 2) returns something else in every run",
        ),
        (
            Evidence(script="rng = np.random.default_rng()\n"),
            "np.random.default_rng() (line 1) returns something else in every run",
        ),
        (
            Evidence(script="torch.manual_seed(int(time.time()))\n"),
            "torch.manual_seed() (line 1) is given a seed made from the time of day",
        ),
        (
            Evidence(script="x = hash('a')\n"),
            "hash() (line 1) of text differs from process to process, unless PYTHONHASHSEED is set",
        ),
        (Evidence(script="x = hash('a')\n", environment={"variables": {"PYTHONHASHSEED": "0"}}), UNKNOWN),
        (Evidence(script="began = time.time()\nrng = np.random.default_rng(0)\n"), UNKNOWN),
    ],
)
def test_the_likely_cause_of_a_mismatch(evidence: Evidence, cause: str) -> None:
    assert likely_cause(evidence, LOSS, HERE, restored=True) == cause


def test_a_segment_that_began_at_the_start_misses_nothing_of_checkpoints() -> None:
    assert likely_cause(Evidence(script=SCRIPT), LOSS, HERE, restored=False) == UNKNOWN


def test_a_gpu_without_deterministic_algorithms_is_a_cause() -> None:
    on_gpu: Mapping[str, object] = HERE | {"gpus": ["H200"]}
    evidence = Evidence(environment=on_gpu, script="train()\n")
    assert "torch.use_deterministic_algorithms(True)" in likely_cause(evidence, LOSS, on_gpu, restored=True)
    careful = Evidence(environment=on_gpu, script="torch.use_deterministic_algorithms(True)\n")
    assert likely_cause(careful, LOSS, on_gpu, restored=True) == UNKNOWN


def test_the_first_variable_that_differs_and_what_the_observer_said_are_causes_of_last_resort() -> None:
    assert likely_cause(Evidence(), LOSS, HERE, True, STATE) == "the first variable that differs is `net.0.weight`"
    assert likely_cause(Evidence(), STATE, HERE, True, STATE) == UNKNOWN
    assert likely_cause(Evidence(), LOSS, HERE, True, None, ["`net` was changed"]) == "`net` was changed"


def test_what_only_one_environment_knows_counts_for_nothing_and_gpus_count_by_kind() -> None:
    assert hardware.differences({}, HERE) == hardware.library_differences({}, HERE) == ()
    eight = HERE | {"gpus": ["H200"] * 8}
    assert hardware.differences(eight, HERE | {"gpus": ["H200"]}) == ()
    assert hardware.differences(eight, HERE) == ("no GPU instead of H200",)
    assert hardware.differences(HERE | {"threads": 8}, HERE) == ("number of threads 2 instead of 8",)


def report(**fields: Any) -> SegmentReport:
    return SegmentReport(Segment("v", 1, 1, Operator.DP_I), rows=0, setup_seconds=0.0, run_seconds=0.0, **fields)


def test_the_worst_segment_judges_a_version() -> None:
    exact, none = report(compared=3, states_compared=1, verdict=Fidelity.EXACT), report()
    changed = report(compared=1, cause="data.csv has changed")
    wrong = report(compared=2, verdict=Fidelity.DIVERGED, cause="unknown", mismatch=LOSS)
    assert judged([none]) == {"v": Judgement()}
    assert judged([none, exact, none]) == {"v": Judgement(Fidelity.EXACT, 4)}
    assert judged([exact, changed]) == {"v": Judgement(Fidelity.UNVERIFIED, 5, "data.csv has changed")}
    assert judged([changed, wrong, exact]) == {"v": Judgement(Fidelity.DIVERGED, 7, "unknown", LOSS)}


def test_values_and_states_that_differ_are_told_in_their_own_words() -> None:
    loss = Mismatch("loss", 2, 3, "0.5", "0.7")
    assert replays.describe_mismatch(loss) == (
        "its replay computed loss (epoch 2, step 3) as 0.7, but 0.5 was recorded: replayed values of this version may "
        "not be those of the original run"
    )
    state = Mismatch("best", 2, None, "1", "2", of_state=True)
    assert replays.describe_mismatch(state, "unknown") == (
        "the state at epoch 2 is not the recorded one: `best` differs (recorded: 1; replayed: 2): replayed values of "
        "this version may not be those of the original run. Likely cause: unknown"
    )
