"""Processes of this machine, and what they hold: who is still there, since when, how much memory, and which temporary
folders. psutil's door.

A process is told from a later one that was given the same number by when it began. psutil is imported when it is asked:
`import flor_ray` does without.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LINUX = sys.platform == "linux"
_SCRIPTS_DESCRIPTORS = 127  # the highest; where few may be open, 256 may
_CGROUPS = Path("/sys/fs/cgroup")
_FOLDER = re.compile(r"flor-(?P<what>[a-z0-9]+)-(?P<place>[0-9a-f]{6})-(?P<pid>[0-9]{1,10})-(?P<since>[0-9]+)-[^/]+")


@contextlib.contextmanager
def out_of_reach() -> Iterator[None]:
    """Descriptors that are opened meanwhile have numbers that no script is given: one that keeps the number of a file
    of another process writes to none of ours."""
    below: list[int] = []
    try:
        while not below or below[-1] < _SCRIPTS_DESCRIPTORS:
            below.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        yield
    finally:
        for descriptor in below:
            os.close(descriptor)


def started(pid: int) -> int | None:
    """When a process of this host began, in clock ticks; None if it is gone or the system does not say.

    Stores keep it. On Linux the ticks are counted from boot, as in /proc, where older releases read them: setting the
    clock does not move them. Elsewhere they are counted from 1970, since there the system keeps the time of a start.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else _ticks(process)
    except psutil.Error:
        return None


def start_background(run: Callable[..., object], *arguments: object, name: str) -> threading.Thread:
    """Start a daemon thread that takes no signal, nor do the processes that it starts.

    The system gives a signal to any thread that lets it in. Python handles it in the main one, which does not hear of
    it, while it sleeps or waits, if another took it: Ctrl-C would stay without effect until it wakes. And what a
    thread's git writes should not depend on whether the user interrupts the script meanwhile.
    """
    thread = threading.Thread(target=run, args=arguments, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()  # with this thread's mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


def user() -> str:
    """Who this process runs for. A container's user may have no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}"


def command_line(pid: int) -> tuple[str, ...]:
    """The words that a process was started with; none where the system does not say."""
    import psutil

    try:
        return tuple(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ()


def is_running(pid: int, since: object) -> bool:
    """Whether the process that had this number, and began when `started` said `since`, still runs. Where the system
    does not say, and for what is no start (None), the number has to do."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # someone else's process, which the system may hide
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        now = _ticks(process)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # psutil makes these of two readings of a clock that may be set between them, so they are equal to within a second.
    return now is None or not isinstance(since, int) or abs(now - since) <= _ticks_per_second()


def folder_prefix(what: str) -> str:
    """How the name of a temporary folder of this process begins: it tells whose it is. `what` is of small letters and
    digits."""
    return f"flor-{what}-{_place()}-{os.getpid()}-{started(os.getpid()) or 0}-"


def owner(name: str) -> int | None:
    """The process of this host that a folder of this name is, or was, of; None if it is no such name."""
    found = _FOLDER.fullmatch(name)
    return int(found["pid"]) if found is not None and found["place"] == _place() else None


def owner_is_gone(name: str) -> bool:
    """Whether a folder of this name belonged to a process of this host that has surely ended."""
    found = _FOLDER.fullmatch(name)
    if found is None or found["place"] != _place():
        return False
    return not is_running(int(found["pid"]), int(found["since"]) or None)


def owners(names: Iterable[str], what: str) -> frozenset[int]:
    """Processes of this host that run, and have a temporary folder for this among these names."""
    found = [match for name in names if (match := _FOLDER.fullmatch(name)) and match["what"] == what]
    return frozenset(int(match["pid"]) for match in found if not owner_is_gone(match[0]) and match["place"] == _place())


@functools.cache
def _place() -> str:
    """Where numbers of processes mean the same: this host, and there what it calls a namespace of processes."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:6]


def age_seconds() -> float:
    """How long ago this process began; if the system does not say, the time that it has computed."""
    ticks = started(os.getpid())
    if ticks is None:
        return time.process_time()
    now = time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.time()
    return max(0.0, now - ticks / _ticks_per_second())


def group_bytes(group: int, enough: int = 0) -> int:
    """Memory of a process group: what its processes have to themselves, and their share of what several map.

    Where a sum that counts shared pages in full is at most `enough` already, that is the answer: it costs less.
    """
    import psutil

    resident: dict[psutil.Process, int] = {}
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group:
                process = psutil.Process(pid)
                resident[process] = process.memory_info().rss
        except (ProcessLookupError, PermissionError, psutil.Error):  # it has ended, or is none of ours
            continue
    if sum(resident.values()) <= enough:
        return sum(resident.values())
    return sum(_proportional_bytes(process, size) for process, size in resident.items())


def tree_bytes(pid: int) -> int:
    """Memory of a process and all that it has started, and those have; pages that several share count for each."""
    import psutil

    try:
        every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in every:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it has ended
            continue
    return total


def machine_bytes() -> int:
    """The memory that processes like this one may have: the machine's, or less where control groups limit it."""
    import psutil

    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in _control_groups())])


def machine_use() -> tuple[int, int]:
    """Bytes that are in use and bytes that there are: of the machine, or of the control group that is nearer to its
    limit. What the system would give up at once, such as files that were read, is not in use."""
    import psutil

    memory = psutil.virtual_memory()
    found = [(int(memory.total - memory.available), int(memory.total))]
    for limit, folder in _control_groups():
        used, cached = _number(folder, "memory.current", "memory.usage_in_bytes"), 0
        with contextlib.suppress(OSError):
            lines = dict(line.split() for line in folder.joinpath("memory.stat").read_text().splitlines())
            cached = int(lines.get("total_inactive_file", lines.get("inactive_file", 0)))
        found.append((max(0, used - cached), limit))
    return max(found, key=lambda each: each[0] / each[1])


def kills_for_memory() -> int:
    """How many processes the kernel has killed for want of memory, on this machine since it began; 0 if it does not
    say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _ticks(process: psutil.Process) -> int | None:
    """See `started`. Raises psutil.Error if the process is gone or may not be looked at."""
    import psutil

    try:
        # Older releases of psutil add the boot time that was read last: it is read before.
        epoch = psutil.boot_time() if _LINUX else 0.0
        seconds = float(process.create_time() - epoch)
        return round(seconds * _ticks_per_second())
    except (OSError, RuntimeError):  # a sandbox without /proc/stat
        return None


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


def _proportional_bytes(process: psutil.Process, resident: int) -> int:
    import psutil

    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return resident
    share: int = getattr(memory, "pss", memory.uss)  # macOS knows only what a process has to itself
    return share


def _control_groups() -> list[tuple[int, Path]]:
    """The limits of the control groups, of either version, that this process is in, and their folders. psutil does not
    know them."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = base / path.lstrip("/")
        for place in (folder, *folder.parents):
            if limit := _number(place, name):
                found.append((limit, place))
    return found


def command_lines(word: str) -> list[list[str]]:
    """What processes of this machine were started with, of which an argument ends with this word; those that one may
    not look into are left out."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except psutil.Error:
            continue
        if any(argument.endswith(word) for argument in arguments):
            found.append(arguments)
    return found


def _number(folder: Path, *names: str) -> int:
    """What the first of these files says that is there; 0 if that is no number."""
    for name in names:
        try:
            text = folder.joinpath(name).read_text().strip()
        except OSError:  # of the other version, of another namespace, or above the control groups
            continue
        return int(text) if text.isdigit() else 0
    return 0
