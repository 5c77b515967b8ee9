"""How many slots of a cluster each of several replays should have. Pure.

Max-min fair: nobody gets more than it can use, and what one leaves goes to the others in equal parts. What is left of
whole slots goes to whoever holds it already, so that nothing moves for the sake of a remainder, and then to the replays
that began first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """A replay that lives on a cluster."""

    id: str  # ids sort by when replays began
    wants: int  # slots that it could use now
    holds: int = 0  # that it has
    weight: float = 1.0


def divided(slots: int, tenants: Sequence[Tenant]) -> dict[str, int]:
    """Slots by replay. Together they are no more than there are, unless there are more replays than slots: each that
    wants any has one, since who has none would never end.

    Raises:
        ValueError: a weight is not positive.
    """
    if any(one.weight <= 0 for one in tenants):
        raise ValueError("a share's weight must be positive")
    wanting = sorted((one for one in tenants if one.wants > 0), key=lambda one: one.id)
    given = {one.id: 0 for one in tenants} | {one.id: 1 for one in wanting}
    left = slots - len(wanting)
    while left > 0 and (open_ := [one for one in wanting if given[one.id] < one.wants]):
        # The next slot goes to whom most is lacking of a share by weight.
        neediest = min(open_, key=lambda one: (_after(given[one.id], one), one.holds <= given[one.id], one.id))
        given[neediest.id] += 1
        left -= 1
    return given


def _after(given: int, one: Tenant) -> float:
    """What a replay would have with one slot more, for each unit of its weight."""
    return (given + 1) / one.weight
