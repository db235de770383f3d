"""The stack of the several-hosts test: each part on a host of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "dev"))

from hosts_network import Network  # noqa: E402
from stack import ClickHouse, MariaDB, PostgresServer, Program, Stack, deep_merge, free_port  # noqa: E402

WORKERS = ["worker-a", "worker-b"]
HOSTS = ["web", "redis", *WORKERS, "source", "source-my", "results"]
QUICK_DATABASES = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "max_wal_size": "64MB"}
# MariaDB has no setting of the session for this, so an administrator sets it for the server: see the README.
MARIADB = {"tcp_keepalive_time": 10, "tcp_keepalive_interval": 5, "tcp_keepalive_probes": 3}

RUNNING_ON = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    local job = redis.call('HMGET', key, 'state', 'worker')
    if job[1] == 'STARTED' and job[2] == ARGV[2] then found[#found + 1] = string.sub(key, #ARGV[1] + 1) end
end
return found
"""


class HostsStack(Stack):
    """Sources pg and ch on the host `source`, my on `source-my`; results databases reports (PostgreSQL) and my_reports (MariaDB) on `results`."""

    LEASE = 4

    def __init__(self, directory: Path, network: Network, bin_dir: str) -> None:
        self.network = network
        at = {host: {"host": network.address(host), "prefix": network.prefix(host)} for host in HOSTS}
        self._at = at
        super().__init__(directory, bin_dir=bin_dir, workers=0, load=0, queues={"default": 6}, sql_directories=[HERE / "queries_hosts"],
                         redis=at["redis"], nginx=at["web"], http_port=free_port())
        self.fcgi[0].prefix = network.prefix("web")
        for name in WORKERS:
            worker = self.worker(name, start=False)
            worker.prefix = network.prefix(name)
            self.workers.append(worker)
        self.config = deep_merge(self.config, {
            "redis": {"url": self.redis.tcp_url},
            "worker": {"lease": f"{self.LEASE}s", "retry_base": "200ms", "retry_max": "2s", "max_deliveries": 10},
            "sources": {"ledger": None, "pg": self._database(self.source, "ledger"), "my": self._database(self.my, "ledger"),
                        "ch": self._database(self.ch, "ledger")},
            "results": {"reports": self._database(self.results, "reports"), "my_reports": self._database(self.my_results, "reports")}})

    def _make_databases(self, engine: str, two_servers: bool, postgres: Mapping[str, Any]) -> None:
        source, results = self._at["source"], self._at["results"]
        self.source = PostgresServer(self.dir / "pg-source", **source, **QUICK_DATABASES)
        self.results = PostgresServer(self.dir / "pg-results", **results, **QUICK_DATABASES)
        self.my = MariaDB(self.dir / "my-source", **self._at["source-my"], **MARIADB)
        self.my_results = MariaDB(self.dir / "my-results", **results, **MARIADB)
        self.ch = ClickHouse(self.dir / "ch-source", **source)

    @staticmethod
    def _database(server: PostgresServer | MariaDB | ClickHouse, name: str) -> dict[str, str]:
        return {"type": server.ENGINE, "dsn": server.dsn(name)}

    def start_servers(self) -> None:
        for server, name in ((self.my, "ledger"), (self.my_results, "reports"), (self.ch, "ledger")):
            server.start()
            server.createdb(name)
        super().start_servers()

    def stop(self) -> None:
        super().stop()
        for server in (self.my, self.my_results, self.ch):
            server.stop()

    def programs(self) -> list[Program]:
        return [*self.fcgi, *self.workers]

    # --- who runs what ---

    def running_on(self, worker: str) -> set[str]:
        """The jobs whose current run is that worker's, as Redis says."""
        return set(self.redis.cli("EVAL", RUNNING_ON, 0, f"{self.redis_prefix}job:", worker).split())

    def job_fields(self, job_id: str, *names: str) -> list[str]:
        values = self.redis.cli("HMGET", f"{self.redis_prefix}job:{job_id}", *names).split("\n")
        return values + [""] * (len(names) - len(values))

    def sessions(self, server: PostgresServer | MariaDB) -> set[tuple[str, str]]:
        """(address, port) of the clients' ends of the sessions that the server has."""
        if isinstance(server, MariaDB):
            ends = server.sql("SELECT host FROM information_schema.processlist WHERE host LIKE '%.%:%'").split()
        else:
            ends = server.psql("postgres", "SELECT host(client_addr) || ':' || client_port FROM pg_stat_activity WHERE client_addr IS NOT NULL").split()
        return {(address, port) for address, _, port in (end.rpartition(":") for end in ends)}

    def queries_from(self, address: str) -> list[str]:
        """The sessions that the PostgreSQL and MariaDB servers still have for that host."""
        return [f"{server.ENGINE} {end}" for server in (self.source, self.my, self.results, self.my_results)
                for end in self.sessions(server) if end[0] == address]

    def half_open(self) -> list[str]:
        """Sessions of the servers that no client knows of."""
        known: set[tuple[str, str]] = set()
        for host in WORKERS:
            listed = subprocess.run([*self.network.prefix(host), "ss", "-tnH"], capture_output=True, text=True, check=True).stdout
            known |= set(re.findall(r"(?m)^\S+\s+\d+\s+\d+\s+([\d.]+):(\d+)\s", listed))
        return [f"{server.ENGINE} {end}" for server in (self.source, self.my, self.results, self.my_results)
                for end in self.sessions(server) if end not in known]

    def forget(self, host: str) -> None:
        """As if the host had been started anew during the cut, with its data; what it does itself goes on."""
        ports = {"redis": [self.redis.port], "source": [self.source.port, self.ch.port], "source-my": [self.my.port],
                 "results": [self.results.port, self.my_results.port]}
        for port in ports.get(host, []):
            self.network.forget(host, port)
