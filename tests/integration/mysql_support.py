"""A stack whose results databases are MariaDB's, and sessions on it that stay."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import Any

from faults_support import SQL_DIRECTORIES
from support import SLOW, LiveStack, MariaDB, StackError, deep_merge, wait_until

OWN = "dungbeetle_"
QUICK = {"innodb_flush_log_at_trx_commit": 0, "innodb_doublewrite": 0}  # for a MariaDB whose machine does not crash


class Session:
    """A connection of root's that is kept. ask() returns the rows of one statement; of an error, one row with its text."""

    def __init__(self, server: MariaDB, db: str = "reports") -> None:
        self._client = subprocess.Popen(
            ["mariadb", "--no-defaults", "-u", "root", "-S", str(server.socket), "--default-character-set=utf8mb4", "-NBnf", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._asked = 0

    def ask(self, sql: str) -> list[list[str]]:
        assert self._client.stdin
        assert self._client.stdout
        self._asked += 1
        end = f"end of answer {self._asked}"
        self._client.stdin.write(f"{sql};\nSELECT '{end}';\n")
        self._client.stdin.flush()
        rows = []
        for line in self._client.stdout:
            if line == end + "\n":
                return [row for row in rows if row[0].startswith("ERROR ")] or rows
            if line.startswith(("ERROR 2006", "ERROR 2013", "ERROR 2002", "ERROR 2026", "ERROR 1927")):
                raise StackError(line)
            rows.append(line.rstrip("\n").split("\t"))
        raise StackError(f"the session has ended: {rows}")

    def end(self) -> None:
        self._client.kill()
        self._client.communicate()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Corruptor:
    """A TCP proxy to `port` that makes CLEAN into BROKEN on the way there."""

    CLEAN, BROKEN = b"fragile", b"fra\xff\xff\xffe"

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(*ends, ends[0] is client), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket, corrupt: bool) -> None:
        try:
            while data := a.recv(1 << 16):
                b.sendall(data.replace(self.CLEAN, self.BROKEN) if corrupt else data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class MariaDBStack(LiveStack):
    """Its source is PostgreSQL; its results databases, those of LiveStack, are three of one MariaDB.
    mariadb: settings of the server."""

    def __init__(self, directory: Any, *, mariadb: dict[str, Any] | None = None, results: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(directory, **{"sql_directories": SQL_DIRECTORIES, **options})
        self.mariadb = MariaDB(self.dir / "mariadb", **{**QUICK, **(mariadb or {})})
        self._sessions: dict[str, Session] = {}
        self.config["results"] = {}
        self.config = deep_merge(self.config, {"results": {
            name: {"type": "mysql", "dsn": self.mariadb.dsn(name), "lock_timeout": "1s", **more, **(results or {})}
            for name, more in (("reports", {}), ("relaxed", {"durability": "relaxed"}), ("unlogged", {"unlogged": True}))}})

    def start_servers(self) -> None:
        super().start_servers()
        self.mariadb.start()
        for name in ("reports", "relaxed", "unlogged"):
            self.mariadb.createdb(name)

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            for session in self._sessions.values():
                session.end()
            self.mariadb.stop()

    def session(self, db: str = "reports") -> Session:
        return Session(self.mariadb, db)

    def ask(self, sql: str, db: str = "reports") -> list[list[str]]:
        """As Session.ask, in one that is kept; an error fails."""
        if db not in self._sessions:
            self._sessions[db] = self.session(db)
        try:
            rows = self._sessions[db].ask(sql)
        except (StackError, OSError):  # the server was started again
            self._sessions.pop(db).end()
            self._sessions[db] = self.session(db)
            rows = self._sessions[db].ask(sql)
        assert not any(row[0].startswith("ERROR ") for row in rows), rows
        return rows

    # --- what LiveStack asks PostgreSQL

    def rows(self, job_id: str, order: str = "1", db: str = "reports") -> list[Any]:
        return self.ask(f"SELECT * FROM `results_{job_id}` ORDER BY {order}", db)

    def count(self, job_id: str, db: str = "reports") -> int:
        return int(self.ask(f"SELECT COUNT(*) FROM `results_{job_id}`", db)[0][0])

    def columns(self, job_id: str, db: str = "reports") -> list[tuple[str, str]]:
        found = self.ask("SELECT column_name, column_type FROM information_schema.columns WHERE table_schema = DATABASE()"
                         f" AND table_name = 'results_{job_id}' ORDER BY ordinal_position", db)
        return [(name, kind) for name, kind in found]

    def tables(self, db: str = "reports") -> set[str]:
        found = self.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()", db)
        return {name for (name,) in found} - {OWN + "results"}

    def strays(self, db: str = "reports") -> set[str]:
        return {name for name in self.tables(db) if name.startswith(OWN)}

    def registry(self, job_id: str, db: str = "reports") -> dict[str, Any] | None:
        names = ("run", "claimed", "table_name", "task", "row_count", "published", "created_at", "expires_at")
        found = self.ask(f"SELECT {', '.join(names)} FROM dungbeetle_results WHERE job_id = '{job_id}'", db)
        return dict(zip(names, found[0], strict=True)) if found else None

    def loading(self, db: str = "reports") -> bool:
        """Is a LOAD DATA under way?"""
        return bool(self.ask("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%'", db))

    def await_loading(self) -> None:
        wait_until(self.loading, 10 * SLOW, "a LOAD DATA")
