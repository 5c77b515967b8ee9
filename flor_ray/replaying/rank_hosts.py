"""Ranks of a version on another machine than their worker: who starts them there. See `meeting`."""

from __future__ import annotations

import socket
import tempfile

from flor_ray.replaying.data import DataFinder
from flor_ray.replaying.meeting import COMES_SECONDS, RANK_FORMAT, Visit
from flor_ray.replaying.rank_tasks import tasks_for
from flor_ray.replaying.task import ReplayTask
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.replaying.version_process import WarmServers
from flor_ray.store.store import Store


class RankHost:
    """Starts ranks on this machine, for a worker elsewhere. `without_gpu` as in Worker."""

    def __init__(self, without_gpu: bool) -> None:
        self._without_gpu = without_gpu
        self._servers = WarmServers()
        self._data = DataFinder()
        self._folder: VersionFolder | None = None

    def visit(self, visit: Visit) -> list[ReplayTask]:
        """Start these ranks; what they are to be told. Those of the last visit have ended, or end now.

        Raises:
            NotOnThisNode: this machine lacks data that the version read.
            StoreError: its files cannot be read.
            ProcessKilled: no process could be started.
        """
        self.leave()
        job, store = visit.job, Store(visit.job.store_url)
        located = self._data.find(job, store) if job.original_root else ()
        self._folder = folder = VersionFolder(job, store, located)
        server = self._servers.prepared(folder.preload(self._without_gpu))
        with tempfile.TemporaryFile() as output:
            for rank in visit.ranks:
                with socket.create_connection(visit.meeting, COMES_SECONDS) as connection:
                    connection.settimeout(None)
                    connection.sendall(visit.word + RANK_FORMAT.pack(rank))
                    server.fork(output, connection, str(folder.path))
        return tasks_for(job, folder, None, visit.ranks, visit.variables)

    def leave(self) -> None:
        """Remove the files of the last visit."""
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def close(self) -> None:
        """End everything that was started here."""
        self._servers.close()
        self.leave()
        self._data.close()
