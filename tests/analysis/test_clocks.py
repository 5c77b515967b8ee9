"""A feature measures the clock only if all that is known of it comes from there."""

from __future__ import annotations

import pytest

from flor_ray.analysis.clocks import features_that_measure


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('t0 = time.time()\nflor.log("s", time.time() - t0)', {"s"}),
        (
            't0 = perf_counter()\ndt = round(perf_counter() - t0, 2)\nflor.log("s", dt)\nflor.log("rate", n / dt)',
            {"s", "rate"},
        ),
        ('self.t0 = time.monotonic()\nflor.log("s", time.monotonic() - self.t0)', {"s"}),
        ('t0 = datetime.now()\nflor.log("s", (datetime.now() - t0).total_seconds())', {"s"}),
        ('total = 0.0\ntotal += time.time() - t0\nflor.log("s", total)', {"s"}),
        ('times = []\ntimes.append(time.time() - t0)\nflor.log("s", sum(times) / len(times))', {"s"}),
        ('meter = Meter()\nmeter.update(time.time() - end)\nflor.log("s", meter.avg)', {"s"}),
        ('flor.log("when", f"{datetime.datetime.now()}")', {"when"}),
        ('flor.log("ms", start.elapsed_time(end))', {"ms"}),
        ('loss = f(x)\nflor.log("loss", loss)', set()),
        ('dt = time.time()\nflor.log("loss", model.fit(x, dt))', set()),
        ('dt = time.time()\nmodel.estimate(dt)\nloss = model(x)\nflor.log("loss", loss.item())', set()),
        ('m = Meter()\nm.update(time.time())\nm.update(loss)\nflor.log("loss", m.avg)', set()),
        ('while time.time() < end:\n    flor.log("loss", loss)', set()),
        ('x = time.time()\nx = loss\nflor.log("x", x)', set()),
        ('x = time.time()\nfor x in data:\n    flor.log("x", x)', set()),
        ('x = time.time()\ndef f(x):\n    flor.log("x", x)', set()),
        ('flor.log("s", time.time())\nflor.log("s", loss)', set()),
        ('flor.log("now", self.now())', set()),
        ("not python (", set()),
    ],
)
def test_features_that_measure_the_clock(source: str, found: set[str]) -> None:
    assert features_that_measure(f"import flor_ray as flor\n{source}") == found


def test_a_feature_that_another_call_may_log_too_does_not_count() -> None:
    ours = "import flor_ray as flor\nt0 = time.time()\nflor.log(name='s', value=time.time() - t0)\n"
    assert features_that_measure(ours) == {"s"}
    assert features_that_measure(ours + "class A:\n    def log(self, name, value): pass\nA.log('s', loss)\n") == {"s"}
    assert features_that_measure(ours + "def f(logger):\n    logger.log('s', loss)\n") == set()
    assert features_that_measure(ours + "flor.log('s', value=loss)\n") == set()
    assert features_that_measure("t0 = time.time()\nhistory.log('s', time.time() - t0)\n") == set()
