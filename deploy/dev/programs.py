"""Processes of a private stack: starting, stopping and finding them, ports, directories. Standard library only.

Each started process leaves a file NAME.program beside its log (pid, start time, stop signal): what `make down` stops.
By default processes die with the *thread* that started them (PDEATHSIG), so start them from the main thread; with
keep=True they stay.
"""

from __future__ import annotations

import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence, TypeVar

ROOT = Path(__file__).resolve().parents[2]

SOCKET_PATH_MAX = 107  # bytes, of a unix socket's path on Linux
SOCKET_NAME_MAX = 28  # room for the longest name below a stack's directory: "pg-results/.s.PGSQL.65535"
POLL = 0.01  # seconds between two looks of wait_until

T = TypeVar("T")


class StackError(Exception):
    """Something did not start, stop or answer; the message holds the end of the log concerned."""


# ---------------------------------------------------------------------------------------------------------------------
# Small helpers


def wait_until(check: Callable[[], T | None], timeout: float = 10.0, what: str = "", watch: Iterable["Program"] = ()) -> T:
    """Polls check() until it is truthy and returns that; StackError after timeout, or when a watched program has died."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        for program in watch:
            if not program.alive():
                raise StackError(f"{program.name} ended while waiting for {what or check}:\n{program.log_tail()}")
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {program.name}\n{program.log_tail()}" for program in watch)
            raise StackError(f"no {what or check} within {timeout} s\n{tails}")
        time.sleep(POLL)


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768


_ports_given: set[int] = set()


def free_port() -> int:
    """A loopback TCP port that nobody listens on, below the range that outgoing connections take theirs from."""
    low, high = 15000, _first_ephemeral_port()
    if high < low + 1000:
        low, high = 15000, 60000
    for _ in range(1000):
        port = random.randrange(low, high)
        if port not in _ports_given and port_is_free(port):
            _ports_given.add(port)
            return port
    raise StackError("no free port found")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_program(name: str, *more_directories: str) -> str:
    path = os.pathsep.join([*more_directories, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if not found:
        raise StackError(f"{name} is not installed (run: make deps)")
    return found


def postgres_user() -> str | None:
    """PostgreSQL refuses to run as root: root runs it as `postgres`, anyone else as themselves."""
    return "postgres" if os.geteuid() == 0 else None


def _can_enter(directory: Path, user: str | None) -> bool:
    if user is None:
        return os.access(directory, os.X_OK)
    account = pwd.getpwnam(user)
    test = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups", "test", "-x", str(directory)]
    return subprocess.run(test, check=False).returncode == 0


def short_place(directory: str | os.PathLike[str]) -> Path:
    """Where the servers of `directory` keep sockets and data: the directory itself, or, when its path is too long for a
    unix socket or closed to PostgreSQL's user, a directory in /tmp that the link `place` in it points to."""
    directory = Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "place"
    if link.is_symlink() and link.is_dir():
        return link.resolve()
    if len(os.fsencode(directory)) + 1 + SOCKET_NAME_MAX <= SOCKET_PATH_MAX and _can_enter(directory, postgres_user()):
        return directory
    place = Path(tempfile.mkdtemp(prefix="dungbeetle-", dir="/tmp"))
    place.chmod(0o755)
    link.unlink(missing_ok=True)
    link.symlink_to(place)
    return place


def remove_place(directory: str | os.PathLike[str]) -> None:
    """Removes the directory and, if it has one, its place in /tmp."""
    place = Path(directory) / "place"
    if place.is_symlink():
        shutil.rmtree(place.resolve(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# Processes


def _start_time(pid: int) -> str | None:
    """When the process was started, in clock ticks since boot; None when it is gone or a zombie. With the pid it names
    a process for good: pids are used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


class Program:
    """A process: its output goes to the file `log`, its identity to the file `<log without suffix>.program`.

    user: run as that user (root only). keep: go on when our process ends. stop_signal: what stop() sends first.
    prefix: a command that runs the one behind it in its own place, keeping the pid (ip netns exec NAME).
    """

    def __init__(self, name: str, argv: Sequence[str | os.PathLike[str]], log: str | os.PathLike[str],
                 env: Mapping[str, str] | None = None, *, user: str | None = None, keep: bool = False,
                 stop_signal: signal.Signals = signal.SIGTERM, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.argv = [os.fspath(word) for word in argv]
        self.log = Path(log).absolute()
        self.env = dict(env or {})
        self.user = user
        self.keep = keep
        self.stop_signal = stop_signal
        self.prefix = list(prefix)
        self.pid = 0
        self.identity_file = self.log.with_suffix(".program")
        self._process: subprocess.Popen[bytes] | None = None
        self.started = ""

    @classmethod
    def from_file(cls, identity_file: Path) -> "Program":
        """A program that another process started; alive() is false when it has ended meanwhile."""
        pid, started, stop_signal = identity_file.read_text().split()
        program = cls(identity_file.stem, [], identity_file.with_suffix(".log"), stop_signal=signal.Signals(int(stop_signal)))
        program.pid, program.started = int(pid), started
        return program

    def start(self) -> "Program":
        if self.alive():
            raise StackError(f"{self.name} runs already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.prefix + self._launch_prefix() + self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**clean_environment(), **self.env}, cwd="/" if self.user else None, start_new_session=True)
        self.pid = self._process.pid
        self.started = _start_time(self.pid) or "0"
        self.identity_file.write_text(f"{self.pid} {self.started} {int(self.stop_signal)}\n")
        return self

    def _launch_prefix(self) -> list[str]:
        """setpriv executes the program in its own place, so the pid stays."""
        prefix = []
        if self.user:
            account = pwd.getpwnam(self.user)
            prefix += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
        if not self.keep:
            # The polite signal where a plain SIGKILL would orphan children of its own (nginx, PostgreSQL).
            prefix += ["--pdeathsig", self.stop_signal.name if self.stop_signal != signal.SIGTERM else "SIGKILL"]
        return ["setpriv", *prefix, "--"] if prefix else []

    def alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self.pid > 0 and _start_time(self.pid) == self.started

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs or when it is not our child."""
        return self._process.poll() if self._process is not None else None

    def signal(self, number: int) -> None:
        if self.alive():
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float = 10.0) -> int | None:
        """Waits for the end and returns the returncode; StackError when it still runs."""
        if self._process is not None:
            try:
                return self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise StackError(f"{self.name} still runs after {timeout} s:\n{self.log_tail()}") from None
        if self.alive():
            _wait_for_stranger(self.pid, timeout)
            if self.alive():
                raise StackError(f"{self.name} still runs after {timeout} s")
        return None

    def stop(self, timeout: float = 10.0, first: int | None = None) -> int | None:
        """Stops it politely, after timeout once more (our programs then cut their draining short), then by force; waits
        for the end and returns the returncode. first: a signal to send instead of stop_signal."""
        self.resume()
        for number in (first or self.stop_signal, self.stop_signal, signal.SIGKILL):
            self.signal(number)
            try:
                self.wait(timeout)
                break
            except StackError:
                continue
        self.identity_file.unlink(missing_ok=True)
        return self.returncode

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])


def _wait_for_stranger(pid: int, timeout: float) -> None:
    """Waits for the end of a process that is not our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], timeout)
    finally:
        os.close(handle)


def clean_environment() -> dict[str, str]:
    """Ours, without what would lead the clients' libraries or the programs to other servers."""
    strangers = re.compile(r"PG[A-Z]+$|(MYSQL|MARIADB)_|DUNGBEETLE_|LISTEN_(FDS|PID)|NOTIFY_SOCKET|(?i:(http|https|all)_proxy$)")
    return {key: value for key, value in os.environ.items() if not strangers.match(key)}


def run_command(argv: Sequence[str | os.PathLike[str]], *, user: str | None = None, text: str | None = None) -> str:
    """Runs a command to its end and returns its output; StackError with what it said when it fails."""
    words = [os.fspath(word) for word in argv]
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    done = subprocess.run(prefix + words, input=text, capture_output=True, text=True, check=False,
                          env=clean_environment(), cwd="/" if user else None)
    if done.returncode != 0:
        raise StackError(f"{words[0]} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
