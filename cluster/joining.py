"""The Ray cluster that a replay runs on: joining it, what its nodes have, and what it would start. A Ray door.

`cluster.demand` makes of that how many workers there will be; `cluster.actors` starts them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import RayError

from flor_ray.cluster import addresses, demand, node_groups, room
from flor_ray.cluster.demand import Growth, NodeGroup
from flor_ray.cluster.ray_failures import words
from flor_ray.cluster.room import NodeResources
from flor_ray.errors import ClusterRefused, ReplayError
from flor_ray.records import ANY_SHAPE, Crew, WorkerShape
from flor_ray.wording import ended

_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_ALIVE_SECONDS = 5.0
_OTHER_PORT = "It may be another of Ray's ports: that of the head node is 6379 unless it was started with another"
_TOKEN = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token (`ray get-auth-token` there tells it)"
_REFUSALS = {  # status of a call -> what was seen, and what to do
    "UNAUTHENTICATED": ("it lets nobody in without its token, and got none or another one", _TOKEN),
    "UNIMPLEMENTED": ("what answers there is not the cluster's head node", _OTHER_PORT),
    "UNAVAILABLE": ("what answers there is not the cluster's head node", _OTHER_PORT),
    "DEADLINE_EXCEEDED": ("it does not answer in time", "See whether the head node is well (`ray status` there)"),
}
_RAISED = (RayError, OSError, RuntimeError, ValueError)  # by ray.init
_INSTALL_TRIES = "RUNTIME_ENV_RETRY_TIMES"  # read by the clusters that this process starts; each try is a whole copy
_GIVEN_BACK_SECONDS = 0.5  # after workers have been ended, until Ray says that what they held is free


def connect() -> None:
    """Join the cluster at RAY_ADDRESS, or the one that runs on this machine, or start one here.

    Raises:
        ClusterRefused: none can be joined at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault(_INSTALL_TRIES, "1")
    named, here = addresses.named(), addresses.here()
    if named == "auto" and not here:
        raise ClusterRefused(named, "no cluster runs on this machine", "Start one (`ray start --head`)")
    address = here if named in ("", "auto") else named
    if address in ("", "local"):
        try:
            _init("local")
        except _RAISED as error:
            raise ReplayError(f"Ray could not be started on this machine: {ended(words(error))}") from error
        return
    addresses.check(address)
    expect_alive(address, found_here=address != named)
    try:
        _init(named or None)  # Ray looks for the one that runs here itself, and for its token
    except _RAISED as error:
        raise ClusterRefused(address, words(error), "Correct the address") from error


def _init(address: str | None) -> None:
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except _RAISED:
        ray.shutdown()
        raise


def expect_alive(address: str, found_here: bool) -> None:
    """Ask the head node at an address whether it is one, and lets this process in. Ray would try for long, and end this
    process. It has no public function for it; where a release has none at all, Ray finds out itself."""
    try:
        import grpc
        from ray._private.authentication import authentication_token_setup as tokens
        from ray._private.grpc_utils import init_grpc_channel
    except ImportError:
        return
    if found_here:  # as ray.init does
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        with contextlib.closing(init_grpc_channel(address)) as channel:
            channel.unary_unary(_ALIVE)(b"", timeout=_ALIVE_SECONDS)
    except grpc.RpcError as error:
        other = (f"it does not answer as a head node does ({error.code().name})", _OTHER_PORT)
        raise ClusterRefused(address, *_REFUSALS.get(error.code().name, other)) from None
    except (RayError, RuntimeError):
        raise ClusterRefused(
            address, "its token is to be sent (RAY_AUTH_MODE), and there is none here", _TOKEN
        ) from None


def crew(shape: WorkerShape = ANY_SHAPE, workers: int | None = None, scales_to: int | None = None) -> Crew:
    """The workers of this shape that a replay counts on; `workers` are asked for; `scales_to` is what the user says of
    the cluster, in workers.

    Raises:
        UsageError: there is no room for one, or for so many, and none would be made.
    """
    connect()
    time.sleep(max(0.0, _GivenBack.at + _GIVEN_BACK_SECONDS - time.monotonic()))
    nodes = alive_nodes()
    return demand.crew(shape, nodes, Growth(_groups(nodes), scales_to), workers)


def alive_nodes() -> list[NodeResources]:
    """The cluster's nodes. Their order is that of their names."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    draining = draining_nodes()
    free: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
    found = [
        NodeResources(
            one["NodeManagerHostname"],
            one["Resources"],
            one.get("Labels", {}),
            one["NodeID"],
            free.get(one["NodeID"]),  # of a node that has just joined nothing may be known yet: all of it is free
            room.HEAD in one["Resources"],
            one["NodeID"] in draining,
        )
        for one in nodes
        if one["Alive"]
    ]
    return sorted(found, key=lambda node: node.name)


def _groups(nodes: Sequence[NodeResources]) -> tuple[NodeGroup, ...]:
    """What the cluster would start. Ray tells it in no public function, and where a release has none at all, only the
    file on this machine may say it."""
    from ray._private.state import state

    ask = getattr(state, "get_cluster_config", None)
    config = None if ask is None else ask()
    if config is not None and config.node_group_configs:
        return node_groups.told(config, nodes)
    own = {str(ray.util.get_node_ip_address())}  # type: ignore[no-untyped-call]
    return node_groups.in_file(ray.get_runtime_context().gcs_address, own, nodes)


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that will soon be taken away. Ray tells it in no public function; where a release has none at
    all, such a node is noticed when it is gone."""
    from ray._private.state import state

    ask = getattr(state, "get_draining_nodes", None)
    return frozenset() if ask is None else frozenset(ask())


class _GivenBack:
    """When workers of this process were ended last: what they held is not free at once."""

    at = -_GIVEN_BACK_SECONDS


def gave_back() -> None:
    """Workers of this process have been ended just now."""
    _GivenBack.at = time.monotonic()
