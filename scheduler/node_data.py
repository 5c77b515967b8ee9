"""Which nodes lack the data of which versions, as far as their workers have said. Pure."""

from __future__ import annotations

from collections.abc import Collection

from flor_ray.records import LackingFile


class NodeData:
    """Of one replay. A node that has said nothing of a version may have all of its data."""

    def __init__(self) -> None:
        self._lacking: dict[str, dict[str, tuple[LackingFile, ...]]] = {}  # version -> node -> files
        self._as_they_are: set[str] = set()  # versions that run with what a node has, if it has any

    @property
    def versions(self) -> Collection[str]:
        """Those of which some node lacks files."""
        return self._lacking.keys()

    def lacks(self, version: str, node: str, files: tuple[LackingFile, ...]) -> None:
        """A node has said that it lacks these files of a version."""
        self._lacking.setdefault(version, {})[node] = files

    def may_run(self, version: str, node: str) -> bool:
        """Whether the node may have what the version needs."""
        if version not in self._lacking:
            return True
        files = self._lacking[version].get(node)
        return files is None or (version in self._as_they_are and all(file.passable for file in files))

    def nodes_without(self, version: str) -> frozenset[str]:
        """Nodes on which the version cannot run."""
        return frozenset(node for node in self._lacking.get(version, ()) if not self.may_run(version, node))

    def take_as_they_are(self, version: str) -> None:
        """No node has the version's data as they were: from now on those count that have others in their place."""
        self._as_they_are.add(version)

    def runs_as_it_is(self, version: str) -> bool:
        """Whether the version runs with what is there in place of its data."""
        return version in self._as_they_are

    def nowhere(self, version: str) -> tuple[LackingFile, ...]:
        """The files for want of which it cannot run: those that all nodes lack, else that any does."""
        by_node = [{file.path: file for file in files} for files in self._lacking.get(version, {}).values()]
        every = {path: file for files in by_node for path, file in files.items() if not file.passable}
        everywhere = {path: file for path, file in every.items() if all(path in files for files in by_node)}
        return tuple((everywhere or every).values())
