"""What a relation is made of: an Arrow table, and how its columns are shown. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flor_ray.relational.schema import Relation


@dataclass(frozen=True, slots=True)
class Contents:
    """A relation, and the Arrow table that it is a view of."""

    relation: Relation
    table: Any  # of pyarrow; its columns have names of ours: flags, and what `shown` names
    shown: Mapping[str, str]  # every column that may be named -> the SQL expression for it
    where: str = ""  # which of its rows the relation has; the twin has all
    notes: tuple[str, ...] = ()  # what whoever reads its columns should know
    features: Mapping[str, str] = field(default_factory=dict)  # column -> the feature whose values it has
    inner: Mapping[str, str] = field(default_factory=dict)  # names that differ in case only -> the columns' names here
