"""A replay process whose server is gone ends, and says nothing more: its folder goes before it does."""

from __future__ import annotations

import socket
import subprocess
import sys
from multiprocessing.connection import Connection

import pytest

_ABANDONED = """
import sys
from multiprocessing.connection import Connection
from types import SimpleNamespace
from flor_ray.replaying import process

task, connection, told = SimpleNamespace(folder="nowhere"), Connection(int(sys.argv[1])), []
channel = process.PipeChannel(connection, task, None, None)
channel.done("before")

def remove(folder):  # as another thread sees it: the script goes on, and its files are gone
    if not told:
        told.append(folder)
        channel.done(process.ScriptError("FileNotFoundError", ""))

process.leftovers.remove = remove
process._abandon(task, connection.fileno())
"""


def test_what_a_script_says_while_its_folder_goes_is_no_answer() -> None:
    ours, theirs = socket.socketpair()
    with theirs, subprocess.Popen([sys.executable, "-c", _ABANDONED, str(theirs.fileno())], pass_fds=[theirs.fileno()]):
        theirs.close()
        with Connection(ours.detach()) as connection:
            assert connection.recv() == "before"
            with pytest.raises(EOFError):
                connection.recv()
