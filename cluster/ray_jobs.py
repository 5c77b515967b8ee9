"""Jobs that are submitted to a Ray cluster: through its dashboard, which can be reached from a laptop.

What is sent is made by `cluster.job_package`; what a replay says of itself is in the store (`store.heartbeats`). Ray's
own client for jobs does the rest: it has no time limits, and lets variables outdo the address that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError
from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient

from flor_ray.cluster import addresses, joining
from flor_ray.cluster.ray_failures import words
from flor_ray.errors import ClusterRefused, DashboardRefused, ReplayError, UsageError
from flor_ray.wording import ended

_TOKEN = "Set RAY_AUTH_TOKEN to the cluster's token (`ray get-auth-token` there tells it), and RAY_AUTH_MODE=token"
_AGENT = "No available agent"  # the process on the head node that starts jobs comes a little after the dashboard
_AGENT_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_LOST_SECONDS = 60.0  # without any answer of the dashboard, a job is no longer followed
_QUIET = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")


@dataclass(frozen=True, slots=True)
class RayJob:
    """A job, as the dashboard has it."""

    id: str
    ended: bool
    exit_status: int | None  # of its process; None: it runs, was stopped, or never began
    said: str  # how it stands, in Ray's words


class Dashboard:
    """Where a cluster takes jobs. Open one with `at`."""

    def __init__(self, url: str, client: JobSubmissionClient) -> None:
        self.url = url
        self._client = client

    @classmethod
    def at(cls, address: str) -> Dashboard:
        """The one at an address: its own, or that of the cluster's head node; "": the one where `ray job submit` looks.

        Raises:
            DashboardRefused: none is there, or it lets this process not in.
        """
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        url = _url(address)
        try:
            with _only(url):
                return cls(url, JobSubmissionClient(url))
        except RayError:
            raise _without_token(url) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise DashboardRefused(url, words(error), "See whether the cluster is well (`ray status` there)") from None

    def job(self, id: str) -> RayJob | None:
        """The job of that id; None if there is none."""
        return self.jobs().get(id)

    def jobs(self) -> dict[str, RayJob]:
        """All that were submitted, by id."""
        with self._answering():
            found = self._client.list_jobs()
        jobs = (_ray_job(one) for one in found)
        return {job.id: job for job in jobs if job.id}

    def submit(self, id: str, command: str, runtime_env: Mapping[str, Any]) -> None:
        """Submit a job. Folders that `runtime_env` names are sent along.

        Raises:
            ReplayError: the cluster refuses it, as it does where a job has that id.
        """
        end = time.monotonic() + _AGENT_SECONDS
        while True:
            try:
                with self._answering():
                    self._client.submit_job(entrypoint=command, submission_id=id, runtime_env=dict(runtime_env))
            except ReplayError as error:
                if _AGENT not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(_AGAIN_SECONDS)
            else:
                return

    def stop(self, id: str) -> bool:
        """Ask a job to end; whether it ran."""
        with self._answering():
            return bool(self._client.stop_job(id))

    def output(self, id: str) -> Iterator[str]:
        """What a job prints, line by line, from its beginning until it ends. A connection that breaks is made anew."""
        given, pending, heard = 0, "", time.monotonic()
        while True:
            met = 0  # characters that this connection has told
            try:
                for chunk in self._tail(id):
                    heard = time.monotonic()
                    fresh = chunk[max(0, given - met) :]
                    met += len(chunk)
                    given = max(given, met)
                    *lines, pending = (pending + fresh).split("\n")
                    yield from lines
            except (OSError, RuntimeError, ClientError) as error:
                if time.monotonic() - heard > _LOST_SECONDS:
                    raise ReplayError(
                        f"The dashboard {self.url} does not answer any more: {ended(words(error))} The job goes on."
                    ) from error
            with contextlib.suppress(ReplayError):
                job = self.job(id)
                heard = time.monotonic()
                if job is None:
                    raise UsageError(f"The cluster at {self.url} knows no job {id} (any more).")
                if job.ended:
                    break
            time.sleep(_AGAIN_SECONDS)
        with self._answering():
            rest = pending + self._client.get_job_logs(id)[given:]
        yield from rest.splitlines()

    def _tail(self, id: str) -> Iterator[str]:
        """What the dashboard tells in one connection."""

        async def following(chunks: AsyncIterator[str]) -> str | None:
            return await anext(chunks, None)

        with asyncio.Runner() as runner:
            chunks: AsyncIterator[str] = self._client.tail_job_logs(id)
            while (chunk := runner.run(following(chunks))) is not None:
                yield chunk

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except RayError:
            raise _without_token(self.url) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise ReplayError(f"The cluster's dashboard {self.url} refuses: {ended(words(error))}") from error


def _ray_job(details: Any) -> RayJob:
    status = details.status
    return RayJob(
        details.submission_id or "", bool(status.is_terminal()), details.driver_exit_code, str(status.value).lower()
    )


def _without_token(url: str) -> DashboardRefused:
    return DashboardRefused(url, "it lets nobody in without its token, and got none or another one", _TOKEN)


def _url(address: str) -> str:
    """Where the dashboard is that an address leads to."""
    given = address if address not in ("", "auto", "local") else addresses.here()
    if not given:
        if address == "auto":
            raise DashboardRefused(address, "no Ray cluster runs on this machine", addresses.DASHBOARD)
        try:
            addresses.expect_dashboard(addresses.USUAL_DASHBOARD)
        except DashboardRefused as error:
            raise DashboardRefused(
                addresses.USUAL_DASHBOARD,
                f"no address is given, no cluster runs on this machine, and no dashboard is there ({error.seen})",
                addresses.DASHBOARD,
            ) from None
        return addresses.USUAL_DASHBOARD
    url = addresses.dashboard(given)
    if url is not None:
        return url
    try:
        joining.expect_alive(given, found_here=given != address)
    except ClusterRefused as error:
        raise DashboardRefused(given, error.seen, error.advice) from None
    url = _told_by_head(given)
    addresses.expect_dashboard(url)
    return url


def _told_by_head(address: str) -> str:
    """The URL of the dashboard, as the head node tells it. Ray has no public function for it."""
    try:
        from ray.dashboard.utils import ray_address_to_api_server_url

        return str(ray_address_to_api_server_url(address)).rstrip("/")
    except (ImportError, RayError, OSError, RuntimeError, ValueError, AssertionError) as error:
        raise DashboardRefused(
            address,
            f"the head node does not tell where its dashboard is ({words(error)})",
            addresses.DASHBOARD,
        ) from None


@contextlib.contextmanager
def _only(url: str) -> Iterator[None]:
    """Meanwhile, no variable names another place for jobs."""
    before = os.environ.get(addresses.FOR_JOBS)
    os.environ[addresses.FOR_JOBS] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[addresses.FOR_JOBS]
        else:
            os.environ[addresses.FOR_JOBS] = before
