"""What Ray's autoscaler would start, as far as it can be known where a replay is asked for.

Ray tells it only of clusters whose autoscaler reports it. Elsewhere it is in the file that the autoscaler was started
with, which lies on the head node: there, as `ray up` and `ray start --autoscaling-config` have it, it is read. Of any
other cluster the user says it (`scales_to` in flor.yaml).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from flor_ray import processes
from flor_ray.cluster import demand
from flor_ray.cluster.demand import NodeGroup
from flor_ray.cluster.room import NodeResources

_MONITOR = "monitor.py"  # the autoscaler's process
_ADDRESS, _FILE = "--gcs-address=", "--autoscaling-config="
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def told(config: Any, nodes: Sequence[NodeResources]) -> tuple[NodeGroup, ...]:
    """What a cluster tells of itself, as Ray's message has it."""
    kinds = {one.name: (dict(one.resources), one.max_count) for one in config.node_group_configs if one.resources}
    return demand.groups_told(kinds, dict(config.max_resources), nodes)


def in_file(address: str, hosts: Collection[str], nodes: Sequence[NodeResources]) -> tuple[NodeGroup, ...]:
    """What stands in the file of the autoscaler that runs on this machine, for the cluster whose head node has this
    address. `hosts` are this machine's own."""
    from flor_ray import settings_file

    for arguments in processes.command_lines(_MONITOR):
        at, file = _value(arguments, _ADDRESS), _value(arguments, _FILE)
        if file and _same(at, address, {*_LOOPBACK, *hosts}):
            try:
                config: Mapping[str, object] = settings_file.tree(Path(file).expanduser().read_text(encoding="utf-8"))
            except (OSError, ValueError):  # it is somebody else's, or was changed since: it says nothing then
                return ()
            return demand.groups_of_file(config, nodes)
    return ()


def _same(one: str, other: str, hosts: Collection[str]) -> bool:
    """Whether two addresses are one: by the names of this machine, or in the same words."""
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    return port == other_port and (host == other_host or {host.strip("[]"), other_host.strip("[]")} <= set(hosts))


def _value(arguments: Sequence[str], option: str) -> str:
    return next((one.removeprefix(option) for one in arguments if one.startswith(option)), "")
