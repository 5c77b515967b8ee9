"""Folders to which files are only ever added: nobody's are lost, and names tell the order, on all kinds of files."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from flor_ray.errors import Damaged, FlorWarning, StoreError
from flor_ray.store import typed_json
from flor_ray.store.decisions import Decisions
from flor_ray.store.files import Files

WORDS: Decisions[str] = Decisions(
    "words", "a word", "Delete it.", lambda word: {"word": word}, lambda plain, name: str(plain["word"])
)
NAMED: Decisions[str] = Decisions(
    "named", "a name", "Delete it.", lambda word: [word], lambda plain, name: name + plain[0], indent=None
)


def test_what_is_added_is_read_in_its_order_by_everybody(url: str) -> None:
    files = Files(url)
    assert WORDS.all(files, "a/b c") == ()
    assert [WORDS.add(files, "a/b c", lambda now, n=n: f"word {n}") for n in range(12)] == [  # type: ignore[misc]
        f"word {n}" for n in range(12)
    ]
    WORDS.add(files, "", lambda now: "nobody's")
    for each in (files, Files(url)):
        assert WORDS.all(each, "a/b c") == tuple(f"word {n}" for n in range(12))
        assert WORDS.all(each, "") == ("nobody's",)
        assert WORDS.all(each, "a") == ()
        assert {subject: len(names) for subject, names in WORDS.subjects(each).items()} == {"a/b c": 12, "": 1}
        names = WORDS.subjects(each)["a/b c"]
        assert names == WORDS.names(each, "a/b c")
        assert WORDS.read(each, "a/b c", names[3]) == "word 3"
        assert list(WORDS.newest_first(each, "a/b c", names[:3])) == ["word 2", "word 1", "word 0"]
    assert files.read(files.list("words/a~2Fb~20c")[0]) == b'{\n "word": "word 0"\n}'


def test_what_is_added_is_told_the_moment_that_it_is_named_by(url: str) -> None:
    files = Files(url)
    moments = [float(WORDS.add(files, "x", repr)) for _ in range(3)]
    assert [round(moment * 1e6) for moment in moments] == [int(n.partition("-")[0]) for n in WORDS.names(files, "x")]
    assert moments == sorted(set(moments))


def test_a_later_decision_comes_later_even_where_the_clock_goes_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(url)
    WORDS.add(files, "x", lambda now: "first")
    monkeypatch.setattr("time.time", lambda: 1.0)
    WORDS.add(files, "x", lambda now: "second")
    assert WORDS.all(files, "x") == ("first", "second")


def test_two_writers_at_once_lose_nothing_and_come_after_what_they_have_seen(url: str) -> None:
    each, start = 12, threading.Barrier(2)
    Files(url).write("words/x/other.txt", b"")  # so that the folder is there
    seen: dict[str, set[str]] = {}

    def write(writer: str) -> None:
        files = Files(url)
        start.wait()
        for number in range(each):
            before = set(WORDS.names(files, "x"))
            WORDS.add(files, "x", lambda now, word=f"{writer}{number}": word)  # type: ignore[misc]
            seen[f"{writer}{number}"] = before

    threads = [threading.Thread(target=write, args=(writer,)) for writer in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = Files(url)
    names = WORDS.names(files, "x")
    words = WORDS.all(files, "x")
    assert Counter(words) == Counter(f"{writer}{number}" for writer in "ab" for number in range(each))
    for name, word in zip(names, words, strict=True):
        assert all(earlier < name for earlier in seen[word])
    assert sum(word[0] == "b" for word in words[: 2 * each - 1]) >= 1


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from flor_ray.store.files import Files\n"
        "from tests.contracts.test_decisions_contract import WORDS\n"
        "for n in range(20): WORDS.add(Files(sys.argv[1]), 'x', lambda now: sys.argv[2] + str(n))"
    )
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "store"), writer], cwd=root) for writer in "ab"
    ]
    assert [process.wait() for process in running] == [0, 0]
    words = WORDS.all(Files(str(tmp_path / "store")), "x")
    for writer in "ab":
        assert [word for word in words if word[0] == writer] == [f"{writer}{n}" for n in range(20)]
    assert len(words) == 40


def test_a_name_that_is_given_has_one_winner(url: str) -> None:
    start, won = threading.Barrier(6), []

    def write(number: int) -> None:
        files = Files(url)
        start.wait()
        if NAMED.put(files, "s", "r.1", f"/{number}"):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = Files(url)
    assert NAMED.names(files, "s") == ("r.1",)
    assert NAMED.all(files, "s") == (f"r.1/{won[0]}",)
    assert len(won) == 1
    assert not NAMED.put(files, "s", "r.1", "/late")
    assert files.read("named/s/r~2E1.json") == f'["/{won[0]}"]'.encode()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"other": 1}', b"\xff", b"null"])
def test_what_is_no_decision_is_named_and_only_then_left_out(url: str, data: bytes) -> None:
    files = Files(url)
    WORDS.add(files, "x", lambda now: "good")
    files.write("words/x/09999999999999999-ab.json", data)
    said = r"words/x/09999999999999999-ab\.json is not a word \(.*\)\. Delete it\."
    with pytest.raises(Damaged, match=said):
        WORDS.all(files, "x")
    with pytest.raises(StoreError, match=said):
        WORDS.read(files, "x", "09999999999999999-ab")
    with pytest.warns(FlorWarning, match=rf"{said} It is left out\.") as told:
        assert list(WORDS.newest_first(files, "x", WORDS.names(files, "x"))) == ["good"]
    assert len(told) == 1
    assert WORDS.add(files, "x", lambda now: "later") == "later"
    assert WORDS.names(files, "x")[-1] > "09999999999999999-ab"


def test_what_is_not_there_is_not_found(url: str) -> None:
    with pytest.raises(FileNotFoundError):
        WORDS.read(Files(url), "x", "1")
    assert typed_json.to_plain(WORDS.subjects(Files(url))) == {}
