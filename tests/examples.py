"""Which examples Hypothesis draws: the same ones in every run of the suite, so that none fails by chance.

`make test ARGS=--hypothesis-profile=explore` draws others, and so does `make soak`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

EXPLORE = "explore"


def register_profiles() -> None:
    """The suite's, with the same examples in every run, and `explore`'s, with others and more of them. How long an
    example takes depends on what else runs on the machine: no test fails for that."""
    settings.register_profile("suite", deadline=None, derandomize=True)
    settings.register_profile(EXPLORE, deadline=None, print_blob=True, max_examples=1000)
    settings.load_profile("suite")


@contextmanager
def no_constants() -> Iterator[None]:
    """Hypothesis draws what stands in the sources of whatever local modules are loaded, too: other examples wherever
    another test has run before."""
    providers.CONSTANTS_CACHE.cache.clear()
    try:
        with mock.patch.object(providers, "_get_local_constants", Constants):
            yield
    finally:
        providers.CONSTANTS_CACHE.cache.clear()
