"""The six versions of the demo: what the newest logs arrives behind the evaluation of each older one, under its names.

Versions 1 to 3 evaluate inline, 4 to 6 in a function; 1 and 2 call the targets `test_labels`.
"""

from __future__ import annotations

from importlib.resources import files

import pytest

from flor_ray.propagation import propagate

VERSIONS = sorted(
    (each for each in files("flor_ray").joinpath("demo_versions").iterdir() if each.name[:1].isdigit()),
    key=lambda each: each.name,
)
SOURCES = [each.read_text() for each in VERSIONS]
NEWEST = SOURCES[-1]
IMPORT = "from sklearn.metrics import confusion_matrix\n"
PRINT = '    print(f"Epoch [{epoch + 1}/{num_epochs}], loss: {loss.item():.4f}, test loss: {test_loss:.4f}")\n'
INLINE = """\
        flor.log("loss", loss.item())

    net.eval()
    with torch.no_grad():
        logits = net(test_images)
        test_loss = criterion(logits, {targets}).item()
"""
CALL = """\
        flor.log("loss", loss.item())

    test_loss, logits = evaluate(net)
"""
LOGS = """\
    predicted = logits.argmax(1)
    flor.log("cf_matrix", confusion_matrix({targets}, predicted))
    flor.log("accuracy", 100 * (predicted == {targets}).float().mean().item())
"""
TAIL = '    flor.log("tail", net(test_images).detach().numpy())\n'
EVALUATIONS = [  # of versions 1 to 5, and what they call the targets
    (INLINE, "test_labels"),
    (INLINE, "test_labels"),
    (INLINE, "test_targets"),
    (CALL, "test_targets"),
    (CALL, "test_targets"),
]
OLDER = list(zip(SOURCES[:-1], EVALUATIONS, strict=True))
NAMES = [each.name for each in VERSIONS[:-1]]


def lines_with(source: str, *texts: str) -> list[int]:
    return [n for n, line in enumerate(source.splitlines(), 1) if any(text in line for text in texts)]


@pytest.mark.parametrize(("older", "evaluation"), OLDER, ids=NAMES)
def test_the_newest_logs_stand_behind_the_evaluation_of_every_version(older: str, evaluation: tuple[str, str]) -> None:
    before, targets = evaluation[0].format(targets=evaluation[1]), evaluation[1]
    result = propagate(NEWEST, older, lines_with(NEWEST, '"cf_matrix"', '"accuracy"'))
    expected = older.replace(before + PRINT, before + LOGS.format(targets=targets) + PRINT)
    expected = expected.replace("import flor_ray as flor\n", "import flor_ray as flor\n" + IMPORT)
    assert result.refused == ()
    assert result.source == expected


@pytest.mark.parametrize(("older", "evaluation"), OLDER, ids=NAMES)
def test_what_runs_behind_the_evaluation_sees_the_model_in_its_mode(older: str, evaluation: tuple[str, str]) -> None:
    newer = NEWEST.replace(PRINT, TAIL + PRINT)
    before = evaluation[0].format(targets=evaluation[1])
    result = propagate(newer, older, lines_with(newer, '"tail"'))
    assert result.refused == ()
    assert result.source == older.replace(before + PRINT, before + TAIL + PRINT)


@pytest.mark.parametrize(("older", "evaluation"), OLDER, ids=NAMES)
def test_what_runs_before_the_evaluation_stays_before_it(older: str, evaluation: tuple[str, str]) -> None:
    call = CALL.splitlines(keepends=True)[-1]
    newer = NEWEST.replace(call, TAIL + call)
    before = evaluation[0].format(targets=evaluation[1])
    result = propagate(newer, older, lines_with(newer, '"tail"'))
    first = before.splitlines(keepends=True)[0]
    assert result.refused == ()
    assert result.source == older.replace(before + PRINT, first + TAIL + before.removeprefix(first) + PRINT)


def test_the_newest_version_has_it_there_already() -> None:
    result = propagate(NEWEST, NEWEST, lines_with(NEWEST, '"cf_matrix"', '"accuracy"'))
    assert result.source == NEWEST
    assert [each.present for each in result.placed] == [True, True]


def test_the_training_loop_is_not_carried_into_a_script_without_one() -> None:
    older = "import flor_ray as flor\nflor.log('x', 1)\n"
    result = propagate(NEWEST, older, lines_with(NEWEST, '"cf_matrix"', '"accuracy"'))
    loop = lines_with(NEWEST, 'in flor.loop("epoch"')[0]
    assert result.source == older
    assert [each.reason for each in result.refused] == [
        f"its flor.loop (line {loop}) has no counterpart in the older version"
    ] * 2
