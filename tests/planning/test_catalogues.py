"""What the recorded runs show of where their names are logged."""

from __future__ import annotations

from flor_ray.patching.patching import Patched
from flor_ray.planning.catalogues import with_entries
from flor_ray.records import ENTRIES, Experiment, Region, Status


def test_only_the_whole_answers_for_a_version_whose_main_loop_was_entered_again() -> None:
    once = Experiment("p", "a", None, "train.py", "", 0.0, 1.0, Status.FINISHED, main_loop="epoch", epochs=3)
    again = Experiment(
        "p", "b", None, "train.py", "", 0.0, 1.0, Status.FINISHED, epochs=3, environment={ENTRIES: 2}, main_loop="epoch"
    )
    patch = Patched(regions={"norm": Region.INNER, "size": Region.PREFIX})
    found = with_entries({"a": patch, "b": patch}, {"a": once, "b": again})
    assert found["a"] is patch
    assert found["b"].regions == {"norm": Region.WHOLE, "size": Region.WHOLE}
    assert found["b"].whys["norm"] == "its main loop was entered 2 times"
