"""Carry a log statement from one version of a source to another (GumTree: Falleri et al. 2014), or say why not.

Pure: strings in, values out. No I/O, clock, environment or logging may live in this package, and nothing here raises on
any source, however broken.
"""

from flor_ray.propagation.carrying.carry import propagate
from flor_ray.propagation.histories.files import propagate_tree
from flor_ray.propagation.histories.lineage import propagate_tree_through
from flor_ray.propagation.histories.notebooks import NOTEBOOK, as_sources
from flor_ray.propagation.reading.parse import collecting_later
from flor_ray.propagation.reading.statements import find_args, find_statements, has_main_loop

__all__ = [
    "NOTEBOOK",
    "as_sources",
    "collecting_later",
    "find_args",
    "find_statements",
    "has_main_loop",
    "propagate",
    "propagate_tree",
    "propagate_tree_through",
]
