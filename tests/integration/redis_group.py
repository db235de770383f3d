"""A Redis master, its replicas and Sentinels, each a private process, and a stack that uses them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from programs import clean_environment
from servers import RedisServer, redis_program
from stack import remove_place
from support import SLOW, LiveStack, Program, free_port, uid, wait_until

MASTER = "mymaster"
DOWN_AFTER_MS = 1000 * SLOW


class RedisGroup:
    """servers[0] begins as the master of the others. start() waits until the replicas follow and the Sentinels know each
    other and them. settings: of every server, as in redis.conf. kind: as of redis_program. password, sentinel_password: of
    the servers and the Sentinels. The current master is used as Stack uses a RedisServer (cli)."""

    def __init__(self, place: str | os.PathLike[str], *, replicas: int = 2, sentinels: int = 3, kind: str | None = None,
                 settings: Mapping[str, str] | None = None, password: str = "", sentinel_password: str = "") -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="dbt-", dir=place))
        self.dir.chmod(0o755)
        self.password, self.sentinel_password = password, sentinel_password
        options = {"repl_diskless_sync_delay": "0", **(settings or {})}
        if password:
            options |= {"requirepass": password, "masterauth": password}
        self.servers = [RedisServer(self.dir / f"redis-{i}", server=kind, **options) for i in range(1 + replicas)]
        self.sentinel_ports = [free_port() for _ in range(sentinels)]
        self.sentinels = [Program(f"sentinel-{i}", [redis_program(kind), self.dir / f"sentinel-{i}.conf", "--sentinel"],
                                  self.dir / f"sentinel-{i}.log") for i in range(sentinels)]
        self._clients: dict[int, redis.Redis] = {}

    def config(self) -> dict[str, Any]:
        """What stands below `redis` in a configuration of DungBeetle."""
        url = f"redis://:{self.password}@/1" if self.password else None
        return {"url": url, "sentinels": [f"127.0.0.1:{port}" for port in self.sentinel_ports], "master": MASTER,
                "sentinel_password": self.sentinel_password}

    def client(self, i: int) -> redis.Redis:
        """Of servers[i], on the database that config() names."""
        if i not in self._clients:
            self._clients[i] = redis.Redis(port=self.servers[i].port, decode_responses=True, socket_timeout=2 * SLOW, retry=None,
                                           password=self.password or None, db=1 if self.password else 0)
        return self._clients[i]

    def sentinel(self, i: int) -> redis.Redis:
        return redis.Redis(port=self.sentinel_ports[i], decode_responses=True, socket_timeout=2 * SLOW, retry=None,
                           password=self.sentinel_password or None)

    # --- starting

    def start(self) -> RedisGroup:
        for i, server in enumerate(self.servers):
            if i > 0:
                server.settings["replicaof"] = f"127.0.0.1 {self.servers[0].port}"
            self.start_server(i)
        self.await_replicas()
        for sentinel, port in zip(self.sentinels, self.sentinel_ports):
            lines = [f"port {port}", "bind 127.0.0.1", f"dir {self.dir}",
                     f"sentinel monitor {MASTER} 127.0.0.1 {self.servers[0].port} {len(self.sentinels) // 2 + 1}",
                     f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
                     f"sentinel failover-timeout {MASTER} 6000", f"sentinel parallel-syncs {MASTER} 2"]
            if self.password:
                lines.append(f"sentinel auth-pass {MASTER} {self.password}")
            if self.sentinel_password:
                lines += [f"requirepass {self.sentinel_password}", f"sentinel sentinel-pass {self.sentinel_password}"]
            Path(sentinel.argv[1]).write_text("\n".join(lines) + "\n")
            sentinel.start()
        wait_until(self._settled, 60 * SLOW, "Sentinels that know each other", self.sentinels)
        return self

    def start_server(self, i: int) -> None:
        """(Again.) A replica begins as the replica of servers[0]; Sentinel sees to it when that is not the master."""
        self.servers[i].launch()
        wait_until(lambda: self._answers(i), 30 * SLOW, "an answer of Redis", [self.servers[i].program])

    def _answers(self, i: int) -> bool:
        try:
            return bool(self.client(i).ping())
        except redis.RedisError:
            return False

    def _settled(self) -> bool:
        for i in range(len(self.sentinels)):
            try:
                with self.sentinel(i) as client:
                    known = client.sentinel_master(MASTER)
            except redis.RedisError:
                return False
            if (known["num-slaves"], known["num-other-sentinels"]) != (len(self.servers) - 1, len(self.sentinels) - 1):
                return False
        return True

    # --- what is going on

    def await_replicas(self, master: int = 0, n: int | None = None) -> None:
        """Until n replicas (all others) have all that the master has written."""
        wanted = len(self.servers) - 1 if n is None else n

        def follow() -> bool:
            info = self.client(master).info("replication")
            told = [each for each in info.values() if isinstance(each, dict) and "offset" in each]
            return sum(each["state"] == "online" and each["offset"] == info["master_repl_offset"] for each in told) >= wanted

        wait_until(follow, 60 * SLOW, f"{wanted} replicas that follow")

    def master(self) -> int:
        """Which server all Sentinels take for the master; -1: they do not agree, or it does not say so itself."""
        votes = set()
        for i in range(len(self.sentinels)):
            try:
                with self.sentinel(i) as client:
                    votes.add(int(client.sentinel_get_master_addr_by_name(MASTER)[1]))
            except redis.RedisError:
                continue
        ports = [server.port for server in self.servers]
        if len(votes) != 1 or not votes <= set(ports):
            return -1
        found = ports.index(votes.pop())
        return found if self._role(found) == "master" else -1

    def _role(self, i: int) -> str:
        try:
            return str(self.client(i).role()[0])
        except redis.RedisError:
            return ""

    def await_master(self, *, other_than: int = -1) -> int:
        """Until all agree on a master, another one than that; which. (On a busy machine they may fail over for no good reason.)"""
        found = [-1]

        def look() -> bool:
            found[0] = self.master()
            return found[0] not in (-1, other_than)

        wait_until(look, 60 * SLOW, "a master", self.sentinels)
        return found[0]

    def await_replica(self, i: int) -> None:
        wait_until(lambda: self._role(i) == "slave", 60 * SLOW, f"servers[{i}] as a replica", self.sentinels)

    # --- as a stack's Redis

    url = ""  # of a unix socket: there is none, LiveStack takes config()

    def cli(self, *args: str | int) -> str:
        """A command to the current master; lists come one item a line, as from redis-cli."""
        reply = self.client(max(self.master(), 0)).execute_command(*args)
        return "\n".join(map(str, reply)) if isinstance(reply, list) else str(reply)

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        for program in [*self.sentinels, *(server.program for server in self.servers)]:
            program.resume()
            program.stop(5)
        for server in self.servers:
            remove_place(server.dir)
        remove_place(self.dir)


class SentinelStack(LiveStack):
    """A LiveStack whose Redis is a RedisGroup, with one replica at least for each write. group: options of RedisGroup."""

    def __init__(self, directory: str | os.PathLike[str], *, group: Mapping[str, Any] | None = None,
                 config: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(directory, config=config, **options)
        settings = {"appendfsync": "always", "min_replicas_to_write": "1", "min_replicas_max_lag": "5"}
        self.group = RedisGroup(Path(directory).parent, **{"settings": settings, **(group or {})})
        self.redis = self.group  # type: ignore[assignment]
        self.config["redis"] = {**self.group.config(), "wait_replicas": 1, **self.config["redis"]}
        self.config["redis"]["url"] = self.group.config()["url"]
        if self.config["redis"]["url"] is None:
            del self.config["redis"]["url"]

    @property
    def r(self) -> redis.Redis:
        """A client of the current master."""
        return self.group.client(max(self.group.master(), 0))

    def submit_until(self, task: str, *args: Any, **fields: Any) -> str:
        """POSTs a job until it is accepted: there may be a failover just now. Its id."""
        body = {"job_id": uid(task[:20]), "args": list(args), **fields}
        wait_until(lambda: self.post(f"/tasks/{task}/jobs", body).status in (200, 409), 60 * SLOW, f"a job of {task} to be accepted")
        return str(body["job_id"])

    def listeners(self) -> int:
        """Who listens to the channel of cancels at the current master."""
        return int(self.r.pubsub_numsub(self.key("cancel"))[0][1])

    def check(self, program: str) -> subprocess.CompletedProcess[str]:
        """PROGRAM --check with the configuration as it is written."""
        argv = [self.bin_dir / program, "--config", self.config_path, "--check"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=clean_environment())
