"""A real S3 server on this machine: Ceph's object gateway over a cluster that lives in one temporary folder.

One monitor, one OSD that keeps everything in memory, one gateway; cephx is on, as in real clusters. Needs the commands
of Debian's packages radosgw, ceph-mon and ceph-osd; nothing of theirs that may run already is used or touched.

    with tests.radosgw.RadosGateway(folder) as gateway:
        gateway.environment  # what S3 clients need: endpoint, keys, region

As a script it serves until Ctrl-C: python -m tests.radosgw
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

COMMANDS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "setpriv")
INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
_START_SECONDS = 90.0  # a start takes 12 s on two cores
_STOP_SECONDS = 10.0

# Pools are made by the gateway; a few placement groups each keep one OSD busy for milliseconds instead of seconds.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor_port}]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/admin.keyring
run_dir = {folder}
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
log_file = {folder}/$name.log
crash_dir = {folder}
mon_data = {folder}/mon
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
mon_max_pg_per_osd = 1000
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = {memory_bytes}
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_class_update_on_start = true

[osd.0]
keyring = {folder}/osd/keyring

[client.rgw.a]
keyring = {folder}/rgw.keyring
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw_enable_usage_log = false
rgw_run_sync_thread = false
"""


def missing() -> str | None:
    """What is needed and not installed, with advice; None if all is there."""
    absent = [command for command in COMMANDS if shutil.which(command) is None]
    return f"{', '.join(absent)} not found. Install Ceph's gateway: {INSTALL}" if absent else None


class RadosGateway:
    """The server, from `with` to the end of the block. Its daemons are children and end with it."""

    def __init__(self, folder: Path, memory_bytes: int = 4 << 30) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}  # by command
        self.environment: dict[str, str] = {}

    def __enter__(self) -> RadosGateway:
        if (absent := missing()) is not None:
            raise RuntimeError(absent)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        fsid, monitor_port, gateway_port = str(uuid.uuid4()), _free_port(), _free_port()
        for name in ("mon", "osd", "rgw"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "ceph.conf").write_text(
            _CONFIGURATION.format(
                fsid=fsid,
                folder=self._folder,
                monitor_port=monitor_port,
                gateway_port=gateway_port,
                memory_bytes=self._memory_bytes,
            )
        )
        self._start_monitor(fsid, monitor_port)
        self._start_osd()
        self._start_gateway(gateway_port)

    def _start_monitor(self, fsid: str, port: int) -> None:
        monitor, admin = self._folder / "mon.keyring", self._folder / "admin.keyring"
        everything = [part for daemon in ("mon", "osd", "mgr") for part in ("--cap", daemon, "allow *")]
        _run("ceph-authtool", "--create-keyring", monitor, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        _run("ceph-authtool", "--create-keyring", admin, "--gen-key", "-n", "client.admin", *everything)
        _run("ceph-authtool", monitor, "--import-keyring", admin)
        address = f"[v2:127.0.0.1:{port}/0]"
        monitors = self._folder / "monmap"
        _run("monmaptool", "--create", "--enable-all-features", "--fsid", fsid, "--addv", "a", address, monitors)
        options = ("-i", "a", *self._configured, "--keyring", str(monitor))
        _run("ceph-mon", "--mkfs", *options, "--monmap", monitors)
        self._serve("ceph-mon", *options)
        self._ceph("mon", "enable-msgr2")  # the first answer says that the monitor is there

    def _start_osd(self) -> None:
        identity, secret = str(uuid.uuid4()), _run("ceph-authtool", "--gen-print-key").strip()
        self._ceph("osd", "new", identity, "-i", "-", data=json.dumps({"cephx_secret": secret}))
        keyring = self._folder / "osd" / "keyring"
        _run("ceph-authtool", "--create-keyring", keyring, "-n", "osd.0", "--add-key", secret)
        _run("ceph-osd", "--mkfs", "--no-mon-config", "-i", "0", *self._configured, "--osd-uuid", identity)
        self._serve("ceph-osd", "-i", "0", *self._configured)

    def _start_gateway(self, port: int) -> None:
        keyring = self._folder / "rgw.keyring"
        self._ceph("auth", "get-or-create", "client.rgw.a", "mon", "allow rw", "osd", "allow rwx", "-o", str(keyring))
        user = json.loads(self._admin("user", "create", "--uid", "flor", "--display-name", "flor"))
        self._serve("radosgw", "-n", "client.rgw.a", *self._configured)
        self._wait_for(port)
        keys = user["keys"][0]
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
            "AWS_DEFAULT_REGION": "default",  # the name of its zone group, which it wants in CreateBucket
        }

    @property
    def _configured(self) -> tuple[str, str]:
        return "-c", str(self._folder / "ceph.conf")

    def _ceph(self, *arguments: str, data: str | None = None) -> str:
        return _run("ceph", *self._configured, "--connect-timeout", str(int(_START_SECONDS)), *arguments, data=data)

    def _admin(self, *arguments: str) -> str:
        return _run("radosgw-admin", *self._configured, *arguments)

    def _serve(self, *command: str) -> None:
        with open(self._folder / f"{command[0]}.out", "wb") as output:
            self._daemons[command[0]] = subprocess.Popen(
                # if this process is killed, the kernel tells the daemon to end
                ["setpriv", "--pdeathsig", "TERM", *command, "-f"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            for name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    output = (self._folder / f"{name}.out").read_text(errors="replace")
                    raise RuntimeError(f"{name} ended with {daemon.returncode}:\n{output}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"radosgw did not answer within {_START_SECONDS:.0f} s; its logs are in {self._folder}")

    def stop(self) -> None:
        """End the daemons, the gateway first, so that none waits for another."""
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _run(*command: str | Path, data: str | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), input=data or "", capture_output=True, text=True, timeout=_START_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="radosgw-") as folder, RadosGateway(Path(folder)) as gateway:
        sys.stdout.write("".join(f"export {name}={value}\n" for name, value in gateway.environment.items()))
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    os.umask(0o077)  # the keyrings are secrets, if only of this cluster
    main()
