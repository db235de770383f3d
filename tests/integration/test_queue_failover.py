"""The queue's scripts on a replica that was promoted before it had heard all that its master did (promise 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis
from conftest import _roomy_place
from redis_group import RedisGroup
from support import ROOT, SLOW, wait_until

LUA = ROOT / "shared" / "queue" / "lua"
SPEC = "task=t\nqueue=q\nresults=reports"


class Side(NamedTuple):
    """One server's view of the queue, driven as a worker drives it."""

    r: redis.Redis

    def call(self, script: str, keys: list[str], args: list[Any]) -> Any:
        text = (LUA / f"{script}.lua").read_text()
        text = text.replace("--@places\n", (LUA / "lib" / "places.lua").read_text())  # as embed.sh does
        return self.r.eval(text, len(keys), *keys, *args)

    def accept(self, job: str, entry: str = "*") -> str:
        """A job with a stream entry of that id."""
        entry = self.r.xadd("queue:q", {"job": job}, id=entry)
        self.r.hset(f"job:{job}", mapping={"state": "PENDING", "entry": entry, "queued_at": entry.split("-")[0], "spec": SPEC})
        return entry

    def start(self, entry: str, job: str, consumer: str) -> list[Any]:
        """XREADGROUP and start.lua: what work_read_start reads."""
        claimed = self.r.xreadgroup("workers", consumer, {"queue:q": ">"}, count=1)
        assert [found for found, _ in claimed[0][1]] == [entry]
        return self.start_claimed(entry, job, consumer)

    def start_claimed(self, entry: str, job: str, consumer: str, stale: int = -1) -> list[Any]:
        keys = ["queue:q", f"job:{job}", "waiting:q", "runs", "stats", "group:", "epoch", "handed", "parked:q"]
        return self.call("start", keys, [entry, consumer, job, "w", stale, "", "q"])

    def finish(self, entry: str, job: str, run: str) -> str:
        keys = ["queue:q", f"job:{job}", "waiting:q", "scheduled", "stats", "group:", "group::jobs", "group::wait"]
        args = [entry, job, run, "SUCCESS", "", 1, f"results_{job}", 0, 60_000, "", "wake", 60_000, "t", "run_le|0", 1, "wait_le|0", 1]
        return self.call("finish", keys, args)[0]


@pytest.fixture(params=["redis", "valkey"])
def group(request: pytest.FixtureRequest) -> Iterator[RedisGroup]:
    made = RedisGroup(_roomy_place(), replicas=1, sentinels=0, kind=request.param)
    try:
        made.start()
        made.client(0).xgroup_create("queue:q", "workers", id="0", mkstream=True)
        yield made
    finally:
        made.stop()


def sides(group: RedisGroup) -> tuple[Side, Side]:
    return Side(group.client(0)), Side(group.client(1))


def part(group: RedisGroup) -> None:
    """The replica becomes a master of its own, with all that it has heard so far; the old one goes on, unheard."""
    group.await_replicas()
    group.client(1).replicaof("NO", "ONE")


def test_run_numbers_that_a_promoted_replica_never_saw_are_not_handed_out_again(group):
    """The old master begins runs that its replica never hears of: each run that the promoted one begins has a newer number."""
    old, new = sides(group)
    first = old.accept("first")
    known = int(old.start(first, "first", "a/0")[1])
    entries = {job: old.accept(job) for job in ("one", "two", "three")}
    part(group)
    unheard = [int(old.start(entries[job], job, "a/0")[1]) for job in ("one", "two")]
    assert known < unheard[0] < unheard[1]
    begun = [int(new.start(entries[job], job, "b/0")[1]) for job in ("one", "two", "three")]
    assert unheard[1] < begun[0] < begun[1] < begun[2]
    assert begun[2] - begun[0] == 2  # it jumps once


def test_a_number_stays_unique_when_the_server_is_promoted_back(group):
    """The old master comes back as a replica and is promoted again before it has heard of the other's runs."""
    old, new = sides(group)
    entries = {job: old.accept(job) for job in ("one", "two", "three")}
    old.start(entries["one"], "one", "a/0")
    part(group)
    begun = int(new.start(entries["two"], "two", "b/0")[1])
    group.client(0).replicaof("127.0.0.1", group.servers[1].port)
    wait_until(lambda: old.r.info("replication")["master_link_status"] == "up", 30 * SLOW, "the old master as a replica")
    unheard = int(new.start(entries["three"], "three", "b/0")[1])
    wait_until(lambda: old.r.get("runs") == str(unheard), 30 * SLOW, "the replica to follow")
    old.r.replicaof("NO", "ONE")
    later = new.accept("later")
    unheard = int(new.start(later, "later", "b/0")[1])
    own = old.accept("own")
    assert int(old.start(own, "own", "a/0")[1]) > unheard > begun


def test_a_run_that_a_job_may_have_had_under_the_old_master_is_fenced_off(group):
    """A job that was accepted before the failover may have a run that nobody here knows: the next one fences it off; a job
    that is accepted after it has none."""
    old, new = sides(group)
    before = [old.accept(job) for job in ("one", "two")]
    assert old.start(before[0], "one", "a/0")[2] == 0  # the first master of all: no fence
    part(group)
    old.start(before[1], "two", "a/0")
    assert new.start(before[1], "two", "b/0")[2] == 1
    after = new.accept("three")
    assert new.start(after, "three", "b/0")[2] == 0


def test_the_end_of_an_unknown_run_changes_nothing(group):
    """A run that the new master does not know ends: LOST, and the job goes on under the number that it has here."""
    old, new = sides(group)
    entry = old.accept("one")
    part(group)
    stranger = old.start(entry, "one", "a/0")[1]
    assert new.finish(entry, "one", stranger) == "LOST"
    assert new.r.hget("job:one", "state") == "PENDING"
    current = new.start(entry, "one", "b/0")[1]
    assert new.finish(entry, "one", stranger) == "LOST"
    assert new.finish(entry, "one", current) == "OK"


def test_an_entry_of_the_same_id_but_of_another_job_is_left_alone(group):
    """Both sides of a partition add an entry in the same millisecond: who ran the one must not remove the other."""
    old, new = sides(group)
    first = old.accept("first")
    old.start(first, "first", "a/0")
    part(group)
    same = f"{int(first.split('-')[0]) + 60_000}-0"
    old.accept("lost", same)
    run = old.start(same, "lost", "a/0")[1]
    new.accept("kept", same)
    assert new.finish(same, "lost", run) == "LOST"
    assert [entry for entry, _ in new.r.xrange("queue:q", same, same)] == [same]
    assert new.start(same, "kept", "b/0")[0] == "RUN"
    # Nor may a keeper that has read the other server's list of dead workers' entries.
    assert new.start_claimed(same, "lost", "c/0", stale=0)[0] == "GONE"
    assert [entry for entry, _ in new.r.xrange("queue:q", same, same)] == [same]
    assert new.r.xpending("queue:q", "workers")["pending"] == 2
