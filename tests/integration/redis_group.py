"""A Redis master, its replicas and Sentinels, each a private process; also with Valkey's programs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from servers import RedisServer
from stack import remove_place
from support import SLOW, Program, StackError, find_program, free_port, wait_until

MASTER = "mymaster"
DOWN_AFTER_MS = 1000 * SLOW


class RedisGroup:
    """servers[0] begins as the master of the others. start() waits until the replicas follow and the Sentinels know each
    other and them. settings: of every server, as in redis.conf. server: the program (redis-server)."""

    def __init__(self, place: Path, *, replicas: int = 2, sentinels: int = 3, server: str | None = None,
                 settings: Mapping[str, str] | None = None) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="dbt-", dir=place))
        self.dir.chmod(0o755)
        self.binary = server or find_program("redis-server")
        self.servers = [RedisServer(self.dir / f"redis-{i}", **{"repl_diskless_sync_delay": "0", **(settings or {})}) for i in range(1 + replicas)]
        for each in self.servers:
            each.program.argv[0] = self.binary
        self.sentinel_ports = [free_port() for _ in range(sentinels)]
        self.sentinels = [Program(f"sentinel-{i}", [self.binary, self.dir / f"sentinel-{i}.conf", "--sentinel"],
                                  self.dir / f"sentinel-{i}.log") for i in range(sentinels)]
        self._clients: dict[int, redis.Redis] = {}

    def config(self) -> dict[str, Any]:
        """What stands below `redis` in a configuration of DungBeetle."""
        return {"url": None, "sentinels": [f"127.0.0.1:{port}" for port in self.sentinel_ports], "master": MASTER}

    def client(self, i: int) -> redis.Redis:
        if i not in self._clients:
            self._clients[i] = redis.Redis(port=self.servers[i].port, decode_responses=True, socket_timeout=10)
        return self._clients[i]

    def start(self) -> RedisGroup:
        self.servers[0].start()
        for server in self.servers[1:]:
            server.settings["replicaof"] = f"127.0.0.1 {self.servers[0].port}"
            server.start()
        self.await_replicas()
        for sentinel, port in zip(self.sentinels, self.sentinel_ports):
            Path(sentinel.argv[1]).write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self.dir}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {self.servers[0].port} {len(self.sentinels) // 2 + 1}\n"
                f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {MASTER} 6000\nsentinel parallel-syncs {MASTER} 2\n")
            sentinel.start()
        wait_until(self._settled, 60 * SLOW, "Sentinels that know each other", self.sentinels)
        return self

    def sentinel(self, i: int) -> redis.Redis:
        return redis.Redis(port=self.sentinel_ports[i], decode_responses=True, socket_timeout=10)

    def _settled(self) -> bool:
        for i in range(len(self.sentinels)):
            try:
                with self.sentinel(i) as client:
                    known = client.sentinel_master(MASTER)
                    if known["num-slaves"] != len(self.servers) - 1 or known["num-other-sentinels"] != len(self.sentinels) - 1:
                        return False
            except redis.RedisError:
                return False
        return True

    def await_replicas(self, master: int = 0, n: int | None = None) -> None:
        """Until n replicas (all others) have all that the master has written."""
        wanted = len(self.servers) - 1 if n is None else n

        def follow() -> bool:
            info = self.client(master).info("replication")
            told = [info[key] for key in info if key.startswith("slave") and isinstance(info[key], dict)]
            return sum(each["state"] == "online" and each["offset"] == info["master_repl_offset"] for each in told) >= wanted

        wait_until(follow, 60 * SLOW, f"{wanted} replicas that follow")

    def master(self) -> int:
        """Which server most Sentinels take for the master; -1: they do not agree, or it does not say so itself."""
        votes = []
        for i in range(len(self.sentinels)):
            try:
                with self.sentinel(i) as client:
                    votes.append(client.sentinel_get_master_addr_by_name(MASTER)[1])
            except redis.RedisError:
                continue
        ports = [server.port for server in self.servers]
        if not votes or len(set(votes)) != 1 or votes[0] not in ports:
            return -1
        found = ports.index(votes[0])
        try:
            return found if self.client(found).role()[0] == "master" else -1
        except redis.RedisError:
            return -1

    def await_master(self, *, other_than: int) -> int:
        """Until another server is the master; which."""
        wait_until(lambda: self.master() not in (-1, other_than), 60 * SLOW, "a failover", self.sentinels)
        return self.master()

    def remove(self) -> None:
        for client in self._clients.values():
            client.close()
        for sentinel in self.sentinels:
            sentinel.stop(5)
        for server in self.servers:
            server.program.resume()
            server.program.kill()
        for server in self.servers:
            server.program.identity_file.unlink(missing_ok=True)
        for server in self.servers:
            remove_place(server.dir)
        remove_place(self.dir)


__all__ = ["MASTER", "RedisGroup", "StackError"]
