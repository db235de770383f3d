"""The other databases of a private stack: MariaDB and ClickHouse, the one of Debian and a current one. Standard library only.

All of them listen on the loopback interface alone and have the users of ACCOUNTS; what was written survives restart().
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import urllib.parse
from pathlib import Path
from typing import Any, Mapping, Sequence
from xml.sax.saxutils import escape

from programs import ROOT, Program, StackError, find_program, free_port, run_command, short_place, wait_until

LEDGER_MYSQL_SQL = Path(__file__).with_name("ledger-mysql.sql")
LEDGER_CLICKHOUSE_SQL = Path(__file__).with_name("ledger-clickhouse.sql")
ENTRIES_OF_A_USER = 100  # of the generated ledger: 1,000,000 entries are those of 10,000 users

USER, PASSWORD = "dungbeetle", "s3cret"  # may do everything
READER, READER_PASSWORD = "reader", "r3ad"  # may only read


class MariaDB:
    """Debian's MariaDB on a unix socket and a port of `host`. settings are those of my.cnf (innodb_buffer_pool_size="1G").
    Beside USER and READER there is root, without a password, for sql()."""

    ENGINE = "mysql"

    def __init__(self, directory: str | os.PathLike[str], *, keep: bool = False, host: str = "127.0.0.1", prefix: Sequence[str] = (),
                 **settings: Any) -> None:
        self.dir = short_place(directory)
        self.host = host
        self.port = free_port()
        self.socket = self.dir / "mysqld.sock"
        self.data = self.dir / "data"
        self.conf = self.dir / "my.cnf"
        self.user = "mysql" if os.geteuid() == 0 else None
        self.settings = {
            "bind_address": host, "skip_name_resolve": 1, "max_connections": 300, "character_set_server": "utf8mb4",
            "collation_server": "utf8mb4_general_ci", "local_infile": 1, "innodb_buffer_pool_size": "128M",
            "innodb_log_file_size": "64M", "innodb_flush_log_at_trx_commit": 1, "innodb_buffer_pool_dump_at_shutdown": 0,
            "innodb_buffer_pool_load_at_startup": 0, "performance_schema": 0, **settings}
        self.program = Program("mariadb", [find_program("mariadbd"), f"--defaults-file={self.conf}"], self.dir / "mariadb.log",
                               user=self.user, keep=keep, prefix=prefix)

    def start(self) -> "MariaDB":
        is_new = not self.data.exists()
        lines = {"datadir": self.data, "socket": self.socket, "port": self.port, "pid_file": self.dir / "mysqld.pid",
                 "tmpdir": self.dir, **self.settings}
        self.conf.write_text("[mysqld]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
        if is_new:
            self._make_data()
        self.program.start()
        wait_until(self._answers, 60, "an answer of MariaDB", [self.program])
        if is_new:
            self.add_user(USER, PASSWORD, "ALL")
            self.add_user(READER, READER_PASSWORD, "SELECT, SHOW VIEW")
        return self

    def _make_data(self) -> None:
        if self.user:  # the server makes its socket here
            shutil.chown(self.dir, self.user, self.user)
        run_command([find_program("mariadb-install-db"), f"--defaults-file={self.conf}", "--auth-root-authentication-method=normal",
                     "--skip-test-db", "--skip-name-resolve"], user=self.user)

    def _answers(self) -> bool:
        try:
            return self.sql("SELECT 1") == "1"
        except StackError:
            return False

    def stop(self) -> None:
        self.program.stop(60)

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def add_user(self, name: str, password: str, rights: str) -> None:
        """rights: as in GRANT, on all databases."""
        self.sql(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'; GRANT {rights} ON *.* TO '{name}'@'%'")

    def dsn(self, db: str, user: str = USER, password: str = PASSWORD) -> str:
        return f"{user}:{password}@tcp({self.host}:{self.port})/{db}"

    def socket_dsn(self, db: str, user: str = USER, password: str = PASSWORD) -> str:
        return f"{user}:{password}@unix({self.socket})/{db}"

    def client(self, db: str) -> list[str]:
        """The command that shows the rows of the statement behind it."""
        return ["mariadb", "--no-defaults", "-u", "root", "-S", str(self.socket), "--default-character-set=utf8mb4", "-t", db, "-e"]

    def sql(self, text: str, db: str = "") -> str:
        """Runs statements; the rows of all of them, one a line, columns parted by tabs, in them \\t, \\n and \\\\."""
        words = ["--no-defaults", "-u", "root", "-S", self.socket, "--default-character-set=utf8mb4", "-N", "-B"]
        return run_command([find_program("mariadb"), *words, *([db] if db else [])], text=text).rstrip("\n")

    def createdb(self, name: str) -> None:
        self.sql(f"CREATE DATABASE `{name}`")

    def has_db(self, name: str) -> bool:
        return name in self.sql("SHOW DATABASES").split("\n")

    def load_ledger(self, db: str, entries: int) -> None:
        """The generated ledger (ledger-mysql.sql), unless the database holds the same one already."""
        wanted = f"{entries} entries"
        if self.sql("SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'entries'",
                    db) != wanted:
            self.sql("DROP TABLE IF EXISTS entries, users", db)
            self.sql(_ledger_sql(LEDGER_MYSQL_SQL, entries) + f"ALTER TABLE entries COMMENT '{wanted}'", db)


class ClickHouse:
    """Debian's ClickHouse (18.16) with its HTTP interface on a port of `host`. profile: settings of all users. Beside USER
    and READER (readonly=1) there is `default`, without a password, for query()."""

    ENGINE = "clickhouse"
    NAME = "clickhouse"

    def __init__(self, directory: str | os.PathLike[str], *, keep: bool = False, host: str = "127.0.0.1", prefix: Sequence[str] = (),
                 profile: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.dir = short_place(directory)
        self.host = host
        self.port = free_port()
        self.tcp_port = free_port()
        self.conf = self.dir / "config.xml"
        self.profile = {"max_threads": 2, **(profile or {})}
        self.settings = {"timezone": "UTC", "max_connections": 200, "mark_cache_size": 64 << 20, **settings}
        self.program = Program(self.NAME, self._command(), self.dir / f"{self.NAME}.log", keep=keep, prefix=prefix)

    def _command(self) -> list[str]:
        return [find_program("clickhouse-server"), f"--config-file={self.conf}"]

    def start(self) -> "ClickHouse":
        paths = {name: f"{self.dir}/{name.partition('_')[0]}/" for name in ("tmp_path", "user_files_path", "format_schema_path")}
        self.conf.write_text(_xml({
            "logger": {"level": "warning", "log": self.dir / "server.log", "errorlog": self.dir / "error.log"},
            "http_port": self.port, "tcp_port": self.tcp_port, "listen_host": self.host, "path": f"{self.dir}/data/", **paths,
            "users_config": self.dir / "users.xml", "default_profile": "default", "default_database": "default", **self.settings}))
        (self.dir / "users.xml").write_text(_xml({
            "profiles": {"default": self.profile, "readers": {**self.profile, "readonly": 1}},
            "users": {"default": self._account("", "default"), USER: self._account(PASSWORD, "default"),
                      READER: self._account(READER_PASSWORD, "readers")},
            "quotas": {"default": ""}}))
        self.program.start()
        wait_until(self._answers, 30, f"an answer of {self.NAME}", [self.program])
        return self

    def _account(self, password: str, profile: str) -> dict[str, Any]:
        callers = "127.0.0.1" if self.host == "127.0.0.1" else f"{self.host}/24"
        return {"password": password, "networks": {"ip": callers}, "profile": profile, "quota": "default"}

    def _answers(self) -> bool:
        try:
            return self.query("SELECT 1") == "1"
        except (StackError, OSError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def url(self, db: str = "default", user: str = USER, password: str = PASSWORD) -> str:
        return f"http://{user}:{password}@{self.host}:{self.port}/{db}"

    def dsn(self, db: str) -> str:
        return self.url(db)

    def client(self, db: str) -> list[str]:
        """The command that shows the rows of the statement behind it."""
        return ["curl", f"http://{self.host}:{self.port}/?database={db}&default_format=PrettySpace", "-d"]

    def query(self, text: str, db: str = "default", *, data: bytes = b"", **settings: Any) -> str:
        """Runs one statement, with the data of an INSERT behind it; its rows, one a line, columns parted by tabs, in them \\t, \\n
        and \\\\."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        try:
            path = "/?" + urllib.parse.urlencode({"database": db, "default_format": "TabSeparated", **settings})
            connection.request("POST", path, text.encode() + b"\n" + data)
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
        finally:
            connection.close()
        if response.status != 200:
            raise StackError(f"{self.NAME} answered {response.status}: {answer.strip()}")
        return answer.rstrip("\n")

    def createdb(self, name: str) -> None:
        self.query(f"CREATE DATABASE `{name}`")

    def has_db(self, name: str) -> bool:
        return name in self.query("SHOW DATABASES").split("\n")

    def load_ledger(self, db: str, entries: int) -> None:
        """The generated ledger (ledger-clickhouse.sql), unless the database holds the same one already."""
        marker = f"ledger_of_{entries}"
        if marker not in self.query("SHOW TABLES", db).split("\n"):
            statements = _ledger_sql(LEDGER_CLICKHOUSE_SQL, entries).split(";\n")
            for statement in ["DROP TABLE IF EXISTS entries", "DROP TABLE IF EXISTS users", *statements[:-1]]:
                self.query(statement, db)
            self.query(f"CREATE TABLE {marker} (id UInt8) ENGINE = Memory", db)


class ClickHouseNew(ClickHouse):
    """A current ClickHouse: the server that the Python package chdb-core holds (clickhouse_new.py says how). `make venv` installs
    it, in the pinned version of tests/requirements-clickhouse.txt."""

    NAME = "clickhouse-new"
    VENV = ROOT / ".venv-clickhouse"

    def _command(self) -> list[str]:
        return [str(self.VENV / "bin" / "python"), str(Path(__file__).with_name("clickhouse_new.py")), str(self.dir)]

    def start(self) -> "ClickHouseNew":
        if not (self.VENV / "stamp").exists():
            raise StackError(f"a current ClickHouse is not installed in {self.VENV} (run: make venv, which needs a package index)")
        super().start()
        return self


def _ledger_sql(file: Path, entries: int) -> str:
    """The statements of the file; pick() is an expression, because a function of one's own is slow in these engines, or missing."""
    sql = file.read_text().replace(":entries", str(entries)).replace(":users", str(max(1, entries // ENTRIES_OF_A_USER)))
    return re.sub(r"pick\((\w+), (\d+), (\d+)\)",
                  r"((\1 * 48271 + \2 * 1234567891) % 2147483647 * 1103515245 % 2147483629 * 1812433253 % 2147483587 % \3)", sql)


def _xml(tree: Mapping[str, Any]) -> str:
    def inside(value: Any) -> str:
        if isinstance(value, Mapping):
            return "".join(f"<{key}>{inside(below)}</{key}>\n" for key, below in value.items())
        return escape(str(value))
    return f"<yandex>\n{inside(tree)}</yandex>\n"
