"""Who runs an epoch: the process that claims it, or a worker that it is taken away for. Never both, never none."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

from flor_ray.replaying.claims import Claims


def test_epochs_up_to_the_last_one_can_be_claimed(tmp_path: Path) -> None:
    worker, process = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    worker.begin(3)
    assert [process.claim(epoch) for epoch in (1, 2, 3, 4)] == [True, True, True, False]
    assert worker.claimed == 3


def test_a_claimed_epoch_cannot_be_taken_away(tmp_path: Path) -> None:
    worker, process = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    worker.begin(10)
    assert process.claim(5)
    assert worker.shorten(2) == 5
    assert process.last == 5
    assert not process.claim(6)


def test_a_segment_only_gets_shorter(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    claims.begin(10)
    assert claims.shorten(7) == 7
    assert claims.shorten(9) == 7
    claims.begin(4)
    assert claims.last == 4
    assert claims.claimed == 0


def _claim_all(path: str, answers: multiprocessing.Queue[int]) -> None:
    claims, epoch = Claims(path), 1
    while claims.claim(epoch):
        epoch += 1
    answers.put(epoch - 1)


def test_a_process_and_a_thread_that_race_agree_on_the_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    context = multiprocessing.get_context("fork")
    for last in range(100, 2000, 200):
        worker = Claims(path)
        worker.begin(2000)
        answers: multiprocessing.Queue[int] = context.Queue()
        process = context.Process(target=_claim_all, args=(str(path), answers))
        process.start()
        left: list[int] = []
        thread = threading.Thread(target=lambda last=last, worker=worker, left=left: left.append(worker.shorten(last)))
        thread.start()
        thread.join()
        assert answers.get(timeout=20) == left[0]
        process.join()
        worker.close()


def test_what_one_of_several_ranks_has_claimed_cannot_be_taken_from_the_others(tmp_path: Path) -> None:
    worker, first, other = (Claims(tmp_path / "claims") for _ in range(3))
    worker.begin(9)
    assert other.claim(4)
    assert first.claim(3)  # it is behind
    assert worker.shorten(2) == 4
    assert (first.claim(4), first.claim(5), other.claim(5)) == (True, False, False)
