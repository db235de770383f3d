"""A whole private DungBeetle stack: Redis, PostgreSQL, nginx, the FastCGI process and workers.

Used by `make up|down|demo` (dev.py), by the integration tests and by the benchmarks. Standard library only. Every server
gets its own directory, free loopback ports and unix sockets, so several stacks live side by side and nothing of the
machine's own services is touched.

    with Stack("/tmp/x", load=10_000) as stack:
        status, answer, headers = stack.request("POST", "/tasks/statement/jobs", {"args": ["1"]})
        job = stack.wait_job(answer["data"]["job_id"])

Each started process leaves a file NAME.program beside its log (pid, start time, stop signal): what `make down` stops.
By default processes die with the *thread* that started them (PDEATHSIG), so start them from the main thread; with
keep=True they stay.

PostgreSQL trusts every local user here: for development and tests only.
"""

from __future__ import annotations

import http.client
import json
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
from typing import Any, Callable, Iterable, Mapping, Sequence, TypeVar

from yaml_out import deep_merge, to_yaml

ROOT = Path(__file__).resolve().parents[2]
NGINX_DIR = ROOT / "deploy" / "nginx"
LEDGER_SQL = Path(__file__).with_name("ledger.sql")

SOCKET_PATH_MAX = 107  # bytes, of a unix socket's path on Linux
SOCKET_NAME_MAX = 28  # room for the longest name below a stack's directory: "pg-results/.s.PGSQL.65535"
ENTRIES_OF_A_USER = 100  # of the generated ledger: 1,000,000 entries are those of 10,000 users
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


def _postgres_program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return find_program(name, *map(str, versions))


def _server_user() -> str | None:
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
    if len(os.fsencode(directory)) + 1 + SOCKET_NAME_MAX <= SOCKET_PATH_MAX and _can_enter(directory, _server_user()):
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
    """

    def __init__(self, name: str, argv: Sequence[str | os.PathLike[str]], log: str | os.PathLike[str],
                 env: Mapping[str, str] | None = None, *, user: str | None = None, keep: bool = False,
                 stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self.argv = [os.fspath(word) for word in argv]
        self.log = Path(log).absolute()
        self.env = dict(env or {})
        self.user = user
        self.keep = keep
        self.stop_signal = stop_signal
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
                self._launch_prefix() + self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**_clean_environment(), **self.env}, cwd="/" if self.user else None, start_new_session=True)
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


def _clean_environment() -> dict[str, str]:
    """Ours, without what would lead libpq or the programs to other servers."""
    strangers = re.compile(r"PG[A-Z]+$|DUNGBEETLE_|LISTEN_(FDS|PID)|NOTIFY_SOCKET")
    return {key: value for key, value in os.environ.items() if not strangers.match(key)}


def _run(argv: Sequence[str | os.PathLike[str]], *, user: str | None = None, text: str | None = None) -> str:
    """Runs a command to its end and returns its output; StackError with what it said when it fails."""
    words = [os.fspath(word) for word in argv]
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    done = subprocess.run(prefix + words, input=text, capture_output=True, text=True, check=False,
                          env=_clean_environment(), cwd="/" if user else None)
    if done.returncode != 0:
        raise StackError(f"{words[0]} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Servers


class RedisServer:
    """Redis with AOF and noeviction on a unix socket and a loopback port; what was written survives restart()."""

    def __init__(self, directory: str | os.PathLike[str], appendfsync: str = "everysec", *, keep: bool = False,
                 **settings: str) -> None:
        self.dir = short_place(directory)
        self.socket = self.dir / "redis.sock"
        self.port = free_port()
        self.settings = {"appendonly": "yes", "appendfsync": appendfsync, "maxmemory-policy": "noeviction", "save": '""',
                         **{key.replace("_", "-"): value for key, value in settings.items()}}
        self.program = Program("redis", [find_program("redis-server"), self.dir / "redis.conf"], self.dir / "redis.log", keep=keep)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "RedisServer":
        lines = {"bind": "127.0.0.1", "port": self.port, "unixsocket": self.socket, "unixsocketperm": "700",
                 "dir": self.dir, "daemonize": "no", **self.settings}
        (self.dir / "redis.conf").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        self.program.start()
        wait_until(self._answers, 30, "an answer of Redis", [self.program])
        return self

    def _answers(self) -> bool:
        try:
            return self.cli("PING").strip() == "PONG"
        except StackError:
            return False

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def cli(self, *args: str | int) -> str:
        """redis-cli's output, without the last newline; an error reply is part of it (redis-cli -e is not used)."""
        return _run([find_program("redis-cli"), "-s", self.socket, *map(str, args)]).rstrip("\n")


class PostgresServer:
    """PostgreSQL on a loopback port and a unix socket, superuser `postgres`, everybody trusted. settings are those of
    postgresql.conf (shared_buffers="1GB"). fsync stays on unless they say otherwise."""

    STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

    def __init__(self, directory: str | os.PathLike[str], *, keep: bool = False, **settings: Any) -> None:
        self.dir = short_place(directory)
        self.port = free_port()
        self.data = self.dir / "data"
        self.user = _server_user()
        self.settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": self.dir, "max_connections": 300,
                         "shared_buffers": "256MB", "max_wal_size": "2GB", "jit": "off", **settings}
        self.program = Program("postgres", [_postgres_program("postgres"), "-D", self.data], self.dir / "postgres.log",
                               user=self.user, keep=keep, stop_signal=signal.SIGINT)

    def start(self) -> "PostgresServer":
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        lines = [f"{key} = '{value}'\n" for key, value in {**self.settings, "port": self.port}.items()]
        (self.dir / "stack.conf").write_text("".join(lines))
        self.program.start()
        wait_until(self._answers, 60, "an answer of PostgreSQL", [self.program])
        return self

    def _make_cluster(self) -> None:
        if self.user:  # the server makes its socket and its lock file here
            shutil.chown(self.dir, self.user, self.user)
        _run([_postgres_program("initdb"), "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
              "--locale=C.UTF-8", "--no-sync"], user=self.user)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(f"include '{self.dir}/stack.conf'\n")

    def _answers(self) -> bool:
        ready = [_postgres_program("pg_isready"), "-q", "-h", str(self.dir), "-p", str(self.port)]
        return subprocess.run(ready, env=_clean_environment(), check=False).returncode == 0

    def stop(self, mode: str = "fast") -> None:
        """fast: open transactions are rolled back; smart: waits for the clients; immediate: as in a crash."""
        self.program.stop(60, self.STOP[mode])

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def url(self, db: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{db}"

    def socket_url(self, db: str) -> str:
        return f"postgresql://postgres@/{db}?host={self.dir}&port={self.port}"

    def createdb(self, name: str) -> None:
        self.psql("postgres", f'CREATE DATABASE "{name}"')

    def has_db(self, name: str) -> bool:
        return name in self.psql("postgres", "SELECT datname FROM pg_database").split("\n")

    def psql(self, db: str, sql: str) -> str:
        """The rows as psql -At prints them: one a line, columns parted by |."""
        return _run([_postgres_program("psql"), "-AtqX", "-v", "ON_ERROR_STOP=1", "-d", self.socket_url(db), "-c", sql]).rstrip("\n")

    def psql_file(self, db: str, file: str | os.PathLike[str], **variables: Any) -> str:
        words = [word for key, value in variables.items() for word in ("-v", f"{key}={value}")]
        return _run([_postgres_program("psql"), "-AtqX", "-v", "ON_ERROR_STOP=1", *words, "-d", self.socket_url(db), "-f", file])

    def load_ledger(self, db: str, entries: int) -> None:
        """The generated ledger (ledger.sql), unless the database holds the same one already."""
        users = max(1, entries // ENTRIES_OF_A_USER)
        wanted = f"{entries} {users}"
        sql = "SELECT obj_description(to_regclass('entries'))"
        if self.psql(db, sql) != wanted:
            self.psql(db, "DROP TABLE IF EXISTS entries, users")
            self.psql_file(db, LEDGER_SQL, entries=entries, users=users)
            self.psql(db, f"COMMENT ON TABLE entries IS '{wanted}'")


class Nginx:
    """nginx with deploy/nginx/dungbeetle.conf, its files all in `directory`.

    enable: sample lines of the site that are switched on, by a part of their text ("auth-basic.conf", "limit_req zone").
    """

    def __init__(self, directory: str | os.PathLike[str], port: int, fcgi_sockets: Sequence[str | os.PathLike[str]], *,
                 enable: Sequence[str] = (), worker_processes: int = 1, access_log: bool = True, keep: bool = False) -> None:
        self.dir = Path(directory).absolute()
        self.port = port
        self.fcgi_sockets = [os.fspath(path) for path in fcgi_sockets]
        self.enable = enable
        self.worker_processes = worker_processes
        self.access_log = self.dir / "access.log" if access_log else None
        self.error_log = self.dir / "error.log"
        self.program = Program("nginx", [find_program("nginx"), "-p", self.dir, "-e", "stderr", "-c", self.dir / "nginx.conf"],
                               self.dir / "nginx.log", keep=keep, stop_signal=signal.SIGINT)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def render(self) -> None:
        """Writes nginx.conf, the site and the files that the site includes; changes are seen by reload()."""
        (self.dir / "temp").mkdir(parents=True, exist_ok=True)
        shutil.copytree(NGINX_DIR, self.dir / "dungbeetle", dirs_exist_ok=True)
        (self.dir / "site.conf").write_text(self._site())
        temp_paths = "".join(f"\t{kind}_temp_path {self.dir}/temp/{kind};\n"
                             for kind in ("client_body", "fastcgi", "proxy", "uwsgi", "scgi"))
        (self.dir / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\n"  # our sockets and files belong to root then
            f"daemon off;\nworker_processes {self.worker_processes};\npid {self.dir}/master.pid;\n"
            f"error_log {self.error_log} notice;\nevents {{\n\tworker_connections 1024;\n}}\n"
            f"http {{\n{temp_paths}\tinclude {self.dir}/site.conf;\n}}\n")

    def _site(self) -> str:
        site = (NGINX_DIR / "dungbeetle.conf").read_text()
        servers = "\n\t".join(f"server unix:{path} max_fails=0;" for path in self.fcgi_sockets)
        log = f"access_log {self.access_log} dungbeetle;" if self.access_log else "access_log off;"
        for pattern, new in ((r"listen 127\.0\.0\.1:6060\b", f"listen 127.0.0.1:{self.port}"),
                             (r"server unix:[^;]+;", servers), (r"access_log .*;", log)):
            site, count = re.subn(pattern, lambda _: new, site)
            if count != 1:
                raise StackError(f"{pattern} occurs {count} times in the nginx site, not once")
        for sample in self.enable:
            site, count = re.subn(rf"(?m)^(\s*)#\s*(.*{re.escape(sample)}.*;)$", r"\1\2", site)
            if count == 0:
                raise StackError(f"no sample {sample!r} in the nginx site")
        return site

    def start(self) -> "Nginx":
        self.render()
        self.program.start()
        wait_until(self._answers, 10, "an answer of nginx", [self.program])
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.program.stop()

    def reload(self) -> None:
        self.render()
        self.program.signal(signal.SIGHUP)


# ---------------------------------------------------------------------------------------------------------------------
# The whole


class Stack:
    """Redis, PostgreSQL with a source database `ledger` and a results database `reports`, nginx, FastCGI and workers.

    queues: slots by queue, of each worker. config: laid over the generated configuration (None removes a key).
    fcgi, workers: how many. two_servers: results on a PostgreSQL of their own. load: entries of the ledger, a hundred
    for each user (None: 20,000; 0: no tables). redis, postgres, nginx: options of RedisServer, PostgresServer and Nginx.
    keep: processes stay when ours ends.
    """

    def __init__(self, directory: str | os.PathLike[str], *, bin_dir: str | os.PathLike[str] = "bin",
                 http_port: int | None = None, queues: Mapping[str, int] | None = None,
                 sql_directories: Sequence[str | os.PathLike[str]] = ("queries",), config: Mapping[str, Any] | None = None,
                 fcgi: int = 1, workers: int = 1, two_servers: bool = False, load: int | None = None,
                 redis: Mapping[str, Any] | None = None, postgres: Mapping[str, Any] | None = None,
                 nginx: Mapping[str, Any] | None = None, keep: bool = False) -> None:
        self.dir = short_place(directory)
        self._given_dir = Path(directory).absolute()
        self.bin_dir = ROOT / bin_dir
        self.queues = dict(queues if queues is not None else {"default": 10, "reports": 2})
        self.keep = keep
        self.load = 20_000 if load is None else load
        self.config_path = self.dir / "config.yml"

        self.redis = RedisServer(self.dir / "redis", keep=keep, **(redis or {}))
        self.pg_source = PostgresServer(self.dir / "pg-source", keep=keep, **(postgres or {}))
        self.pg_results = self.pg_source
        if two_servers:
            self.pg_results = PostgresServer(self.dir / "pg-results", keep=keep, **(postgres or {}))
        self.config = deep_merge(self._default_config(sql_directories), config or {})
        self.fcgi_sockets = [self.dir / f"fcgi-{i}.sock" for i in range(fcgi)]
        self.fcgi = [self._program(f"fcgi-{i}", "dungbeetle-fcgi", "--socket", path) for i, path in enumerate(self.fcgi_sockets)]
        self.workers = [self.worker(f"worker-{i}", start=False) for i in range(workers)]
        self.nginx = Nginx(self.dir / "nginx", http_port or free_port(), self.fcgi_sockets, keep=keep, **(nginx or {}))

    @property
    def url(self) -> str:
        return self.nginx.url

    @property
    def redis_prefix(self) -> str:
        return str(self.config["redis"].get("prefix", "dungbeetle:"))

    def _default_config(self, sql_directories: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
        return {
            "redis": {"url": self.redis.url},
            "sql_directories": [str(ROOT / path) for path in sql_directories],
            "fcgi": {"socket": str(self.dir / "fcgi-0.sock")},
            "worker": {"queues": self.queues},
            "sources": {"ledger": {"type": "postgres", "dsn": self.pg_source.url("ledger")}},
            "results": {"reports": {"type": "postgres", "dsn": self.pg_results.url("reports")}},
        }

    def write_config(self) -> None:
        self.config_path.write_text(to_yaml(self.config))
        self.config_path.chmod(0o600)

    def start(self) -> "Stack":
        """Starts everything and waits until each part answers; on failure nothing is left running."""
        try:
            self.start_servers()
            self.write_config()
            for program in [*self.fcgi, *self.workers]:
                program.start()
            self.nginx.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def start_servers(self) -> None:
        """Redis and PostgreSQL with the two databases and the ledger, without DungBeetle's own programs."""
        self.redis.start()
        self.pg_source.start()
        if self.pg_results is not self.pg_source:
            self.pg_results.start()
        for server, name in ((self.pg_source, "ledger"), (self.pg_results, "reports")):
            if not server.has_db(name):
                server.createdb(name)
        if self.load:
            self.pg_source.load_ledger("ledger", self.load)

    def wait_ready(self, timeout: float = 30.0) -> None:
        wait_until(self._healthy, timeout, "200 of GET /health", [*self.fcgi, self.nginx.program])
        for worker in self.workers:
            self.wait_worker(worker, timeout)

    def _healthy(self) -> bool:
        try:
            return self.request("GET", "/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        """Stops what runs, in the reverse order; the files stay (see remove)."""
        self.nginx.stop()
        for program in [*self.fcgi, *self.workers]:
            program.resume()
            program.terminate()  # all at once, and then again by stop(): the second signal cuts draining short
        for program in [*self.fcgi, *self.workers]:
            program.stop(5)
        if self.pg_results is not self.pg_source:
            self.pg_results.stop()
        self.pg_source.stop()
        self.redis.stop()

    def remove(self) -> None:
        """Deletes all files of the stack."""
        remove_place(self._given_dir)

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self, name: str, binary: str, *args: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Program:
        argv = [self.bin_dir / binary, "--config", self.config_path, *args]
        return Program(name, argv, self.dir / f"{name}.log", env, keep=self.keep)

    def worker(self, name: str, extra_args: Sequence[str] = (), *, env: Mapping[str, str] | None = None,
               start: bool = True) -> Program:
        """One more worker; with start, it is also waited for and stopped by stop()."""
        program = self._program(name, "dungbeetle-worker", "--worker-name", name, *extra_args, env=env)
        if start:
            self.workers.append(program.start())
            self.wait_worker(program)
        return program

    def wait_worker(self, worker: Program, timeout: float = 30.0) -> None:
        """Until the worker has registered itself in Redis, under its name and with the pid of this run."""
        wait_until(lambda: self._registered(worker), timeout, f"registration of {worker.name}", [worker])

    def _registered(self, worker: Program) -> bool:
        registered = [json.loads(line) for line in self.redis.cli("HVALS", f"{self.redis_prefix}workers").splitlines() if line]
        return any((known["name"], known["pid"]) == (worker.name, worker.pid) for known in registered)

    def expire(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs dungbeetle-expire to its end."""
        argv: list[str | os.PathLike[str]] = [self.bin_dir / "dungbeetle-expire", "--config", self.config_path, *args]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=_clean_environment())

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
                timeout: float = 30.0) -> tuple[int, Any, dict[str, str]]:
        """(status, body, headers with lower-case names) through nginx. A body that is not str or bytes is sent as JSON;
        the answer is decoded when it is JSON, else text."""
        return http_request(self.nginx.port, method, path, body, headers, timeout)

    def wait_job(self, job_id: str, timeout: float = 30.0, states: Sequence[str] = ("SUCCESS", "FAILURE")) -> dict[str, Any]:
        """Polls GET /jobs/{id} until the job is in one of the states, and returns its data."""
        def look() -> dict[str, Any] | None:
            status, answer, _ = self.request("GET", f"/jobs/{job_id}")
            if status >= 500:
                return None  # a part may be down just now: tests kill them
            if status != 200:
                raise StackError(f"GET /jobs/{job_id}: {status} {answer}")
            return answer["data"] if answer["data"]["state"] in states else None
        return wait_until(look, timeout, f"{' or '.join(states)} of job {job_id}")


def http_request(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
                 timeout: float = 30.0) -> tuple[int, Any, dict[str, str]]:
    data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, data.encode() if isinstance(data, str) else data,
                           {**({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    found = {key.lower(): value for key, value in response.getheaders()}
    is_json = found.get("content-type", "").startswith("application/json") and text
    return response.status, json.loads(text) if is_json else text, found
