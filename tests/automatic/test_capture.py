"""Numbers in printed lines: what is one, what is not, and what a line costs."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from flor_ray.automatic.capture import _Muted, _Stream
from flor_ray.automatic.printed import LINE_CHARACTERS, Number, numbers_in


class Terminal:
    """A text stream that keeps what it is given."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return None


class Tapped:
    def __init__(self) -> None:
        self.terminal = Terminal()
        self.seen: list[tuple[str, Number]] = []
        self.tap = _Stream(self.terminal, lambda name, number: self.seen.append((name, number)), _Muted())  # type: ignore[arg-type]

    def print(self, *values: object, end: str = "\n", flush: bool = False) -> None:
        print(*values, end=end, flush=flush, file=self.terminal)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss: 0.123", [("loss", 0.123)]),
        ("loss=0.123", [("loss", 0.123)]),
        ("loss = 0.5 acc = 0.25", [("loss", 0.5), ("acc", 0.25)]),
        ("Epoch 3/10 - loss 0.45 - val_acc: 97.5%", [("loss", 0.45), ("val_acc", 97.5)]),
        ("Epoch [3/10], Step [100/600], Loss: 0.2345", [("Loss", 0.2345)]),
        ("epoch 3 loss 0.45 acc 0.9", [("loss", 0.45), ("acc", 0.9)]),
        ("Epoch 3: val loss 0.45", [("val_loss", 0.45)]),
        ("{'loss': 0.3, 'lr': 1e-05}", [("loss", 0.3), ("lr", 1e-05)]),
        ("{'loss': '0.3', 'eval': {\"n\":3}}", [("loss", 0.3), ("n", 3)]),
        ("step 20, loss 2.301, 45 it/s", [("loss", 2.301)]),
        ("train_loss 1.2e-3 | nan", [("train_loss", 0.0012)]),
        ("[INFO] accuracy = 0.91", [("accuracy", 0.91)]),
        ("INFO:root:loss: 0.5", [("loss", 0.5)]),
        ("2024-01-02 12:34:56,789 - root - INFO - loss: 0.3", [("loss", 0.3)]),
        ("loss: -0.5, best: +inf, worst: -inf", [("loss", -0.5), ("best", math.inf), ("worst", -math.inf)]),
        ("Final test accuracy: 97.5 %", [("Final_test_accuracy", 97.5)]),
        ("Test set: Average loss: 0.05, Accuracy: 9800/10000 (98%)", [("Average_loss", 0.05)]),
        ("loss (train): 0.3, acc (%): 97.5", [("loss_train", 0.3), ("acc", 97.5)]),
        ("params: 1,234,567 and tokens: 1_000_000", [("params", 1234567), ("and_tokens", 1000000)]),
        ("train/loss: 0.3 mAP@0.5: 0.6 BLEU-4 = 12", [("train/loss", 0.3), ("mAP@0.5", 0.6), ("BLEU-4", 12)]),
        ("\x1b[32mloss\x1b[0m: \x1b[1m0.5\x1b[0m", [("loss", 0.5)]),
        ("loss: tensor(0.3, grad_fn=<MeanBackward0>) acc: np.float64(0.5)", [("loss", 0.3), ("acc", 0.5)]),
        ("Time  0.512 ( 1.2)\tLoss 6.9e+00 (7.0e+00)\tAcc@1   0.39", [("Time", 0.512), ("Loss", 6.9), ("Acc@1", 0.39)]),
        ("10/10 [=====] - 0s 5ms/step - loss: 0.3 - accuracy: 0.9", [("loss", 0.3), ("accuracy", 0.9)]),
        ("Epoch 1:  40%|██  | 4/10 [00:01<00:01,  3.2it/s, loss=0.3, acc=nan]", [("loss", 0.3), ("acc", math.nan)]),
        ("12it [00:03,  3.9it/s, loss=0.3]", [("loss", 0.3)]),
        ("loss 0.3:  40%|██  | 4/10 [00:01<?, ?it/s]", [("loss", 0.3)]),
        ("Namespace(lr=0.001, epochs=5, name='x 3')", [("lr", 0.001), ("epochs", 5)]),
        ("lr: 0.001. n: 3.", [("lr", 0.001), ("n", 3)]),
        ("Seed 42", [("Seed", 42)]),
    ],
)
def test_named_numbers_are_found(line: str, expected: list[tuple[str, Number]]) -> None:
    assert repr(numbers_in(line)) == repr(expected)  # as text: nan is nan, and 3 is not 3.0


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no numbers at all, not even information",
        "0.5 3 nan",
        "date: 2024-01-02 12:34:56",
        "Jan 5 12:00:00",
        "eta: 0:12:03",
        "/data/run/3 path: /mnt/3 ckpt/model_3.pt s3://bucket/5",
        "v1.2.3 torch: 2.13.0+cpu Python 3.11",
        "host: 10.0.0.1:6006 localhost:6006 cuda:0 train.py:12",
        "address 0x1f id=0xff commit: 7f3c9ab",
        "shape: (32, 10) torch.Size([32, 10]) size 224x224",
        "epoch 3, step: 20, Train Epoch: 1",
        "train:  40%|██  | 4/10 [00:01<00:01,  3.2it/s]",
        " 40%|██  | 4.00k/10.0k [00:01<00:01, 3.20kB/s]",
        "time: 12.3s, time: 12 ms, speed: 45 it/s, memory = 3 GB",
        "Loaded 5000 samples",
        "Loaded 5000 samples in 3 batches of 5",
        "Epoch 3 took 12.3 s",
        "Running fold 3",
        "the final accuracy that we got on the test set is: 0.3",
        '  File "train.py", line 12, in main',
        "  (0): Linear(in_features=784, out_features=128, bias=True)",
        "x == 3 and y >= 4",
        "| loss | 0.3 |",
        "loss      accuracy",
        "0.3       0.97",
    ],
)
def test_other_numbers_are_not(line: str) -> None:
    assert numbers_in(line) == []


@given(
    name=st.from_regex(r"[A-Za-z_]{2,12}_x", fullmatch=True),
    number=st.one_of(st.floats(allow_nan=False), st.integers(-(10**18), 10**18)),
    form=st.sampled_from(["{}: {}", "{}={}", "{} = {}", "{{'{}': {}}}", "{} {}", "- {}: {}", "[{}: {}]"]),
)
def test_any_number_comes_back_as_it_was_printed(name: str, number: Number, form: str) -> None:
    assert repr(numbers_in(form.format(name, number))) == repr([(name, number)])


@given(st.text(max_size=200))
def test_any_text_can_be_read(line: str) -> None:
    assert all(name and isinstance(number, int | float) for name, number in numbers_in(line))


def test_a_long_line_is_cut_between_numbers() -> None:
    line = "loss: 0.5 " + "x" * (LINE_CHARACTERS - 20) + " acc: 0.123456789"
    assert numbers_in(line) == [("loss", 0.5)]
    assert numbers_in("acc: 0." + "1" * LINE_CHARACTERS) == []


@pytest.mark.parametrize("piece", ["1 ", "a:1,", "[", "(tensor(", "1%|", "a ", "12it [1:", "\x1b[", "a=b:c ", "1,111"])
def test_no_line_takes_long(piece: str) -> None:
    line = (piece * LINE_CHARACTERS)[: LINE_CHARACTERS - 1] + "1"
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        numbers_in(line)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.05


def test_a_line_is_read_when_it_is_complete_and_reaches_the_terminal_at_once() -> None:
    tapped = Tapped()
    tapped.print("loss:", end="")
    assert (tapped.terminal.text, tapped.seen) == ("loss:", [])
    tapped.print("", 0.5)
    tapped.print("a: 1\nb: 2\r\nc: 3", end="")
    assert tapped.terminal.text == "loss: 0.5\na: 1\nb: 2\r\nc: 3"
    assert tapped.seen == [("loss", 0.5), ("a", 1), ("b", 2)]
    tapped.tap.drain()
    assert tapped.seen[3:] == [("c", 3)]


def test_a_bar_is_read_when_it_is_drawn_and_counts_what_has_changed() -> None:
    tapped = Tapped()
    for loss in (0.5, 0.5, 0.4, math.nan, math.nan):
        tapped.terminal.write(f"\r 40%|██  | 4/10 [00:01<00:01,  3.2it/s, loss={loss}]")
        tapped.terminal.flush()
    assert repr(tapped.seen) == repr([("loss", 0.5), ("loss", 0.4), ("loss", math.nan)])
    tapped.terminal.write("\n")
    tapped.print("loss: 0.4", end="\r")
    tapped.print("loss: 0.4", end="\r")
    assert tapped.seen[3:] == [("loss", 0.4)]


def test_bars_below_one_another_count_what_has_changed_in_each() -> None:
    tapped = Tapped()
    with tqdm(range(2), file=tapped.terminal, mininterval=0, ascii=True) as outer:
        for epoch in outer:
            outer.set_postfix(best=0.5)
            for step in (inner := tqdm(range(2), file=tapped.terminal, mininterval=0, ascii=True, leave=False)):
                inner.set_postfix(loss=epoch + step / 4)
    assert tapped.seen == [("best", 0.5), ("loss", 0), ("loss", 0.25), ("loss", 1), ("loss", 1.25)]


def test_threads_that_print_in_pieces_do_not_mix_their_lines() -> None:
    tapped = Tapped()
    turns = [threading.Event() for _ in range(3)]

    def other() -> None:
        turns[0].wait()
        tapped.print("other: ", end="")
        turns[1].set()
        turns[2].wait()
        tapped.print(2)

    thread = threading.Thread(target=other)
    thread.start()
    tapped.print("main: ", end="")
    turns[0].set()
    turns[1].wait()
    tapped.print(1)
    turns[2].set()
    thread.join()
    assert tapped.seen == [("main", 1), ("other", 2)]
    assert tapped.terminal.text == "main: other: 1\n2\n"


def test_a_closed_tap_leaves_no_trace_and_a_write_of_the_scripts_own_stays() -> None:
    tapped = Tapped()
    tapped.tap.close()
    assert vars(tapped.terminal).keys() == {"text"}
    tapped = Tapped()
    ours = tapped.terminal.write
    tapped.terminal.write = lambda text: ours(text.upper())  # type: ignore[method-assign]
    tapped.tap.close()
    tapped.print("loss: 0.5")
    assert (tapped.terminal.text, tapped.seen) == ("LOSS: 0.5\n", [])
