"""What must be true when everything has been mended and is quiet. Each breach is a violation in the record."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import redis
import reports
from journal import FINAL, Journal, Life
from labstack import QUEUES, LabStack
from plan import Story
from programs import StackError, wait_until
from record import Record, Said

REASONABLE = 3.0  # by how much the work that is left may take longer than it would on an idle machine


class Checker:
    def __init__(self, stack: LabStack, stories: Sequence[Story], record: Record, slow: float = 1.0) -> None:
        self.stack = stack
        self.looks = stack.looks
        self.stories = {story.id: story for story in stories}
        self.record = record
        self.slow = slow
        self.ends: Counter[tuple[str, str]] = Counter()  # (kind of story, end of the life)
        self._expected: dict[tuple[int, int], tuple[str, ...]] = {}

    # --- quiet

    def left(self) -> dict[str, int]:
        """What Redis still has to do."""
        r, key = self.stack.r, self.stack.key
        found = {"scheduled": r.zcard(key("scheduled")), "purges": r.hlen(key("purges"))}
        for queue in QUEUES:
            found[f"entries of {queue}"] = r.xlen(key(f"queue:{queue}"))
            found[f"waiting of {queue}"] = r.zcard(key(f"waiting:{queue}"))
        return {name: int(n) for name, n in found.items() if n}

    def patience(self) -> float:
        """Seconds within which what is left must be done: the longest waits of the configuration, and the queries themselves."""
        lease, backoff, eta = 3.0, 2.0, 6.0
        work = 0.0
        for name in self.stack.r.scan_iter(self.stack.key("job:*"), count=1000):
            state, spec = self.stack.r.hmget(name, "state", "spec")
            if state not in FINAL and spec:
                args = json.loads(spec.partition("\nargs=")[2])
                work += 0.2 + (float(args[2]) if len(args) == 4 else 0.0)
        slots = len(self.stack.workers) * min(QUEUES.values())
        return self.slow * (30.0 + 4 * lease + 4 * backoff + eta + REASONABLE * work / slots)

    def await_quiet(self) -> None:
        wait_until(self._redis_answers, 60 * self.slow, "an answer of Redis")
        patience = self.patience()
        try:
            wait_until(lambda: not self.left() and self._recovered(), patience, "quiet")
        except StackError:
            self.record.violate("", f"not quiet within {patience:.0f} s: {self.left()}, recovered: {self._recovered()}")
            self._name_the_unfinished()

    def _recovered(self) -> bool:
        """Have the losses of the last crash been dealt with?"""
        look = "SELECT (SELECT epoch FROM dungbeetle_marker) = (SELECT epoch FROM dungbeetle_recovered)"
        try:
            return all(self.looks.rows(name, look) == [("True",)] for name in ("rpg", reports.VOLATILE))
        except psycopg.Error:
            return False

    def _redis_answers(self) -> bool:
        try:
            return bool(self.stack.r.ping())
        except redis.RedisError:
            return False

    def _name_the_unfinished(self) -> None:
        for name in self.stack.r.scan_iter(self.stack.key("job:*"), count=1000):
            if (state := self.stack.r.hget(name, "state")) not in FINAL:
                self.record.violate(str(name).partition("job:")[2], f"still {state} when all should be quiet")

    # --- all of it

    def check(self) -> None:
        journal = Journal(self.stack.redis.dir / "appendonlydir", self.stack.key(""))
        for job, text in journal.problems:
            self.record.violate(job, text)
        self._check_lives(journal)
        self._check_missed(journal)
        self._check_groups(journal)
        self._check_results()
        self._check_tables()
        self._check_runs(journal)
        self._check_redis()
        self._check_sources()

    # --- lives against answers

    def _check_lives(self, journal: Journal) -> None:
        by_label: dict[str, list[Life]] = {}
        for life in journal.lives:
            by_label.setdefault(life.label, []).append(life)
        for story in self.stories.values():
            said = self.record.story(story.id)
            for posts, job, label in _posted(said):
                lives = by_label.pop(label, [])
                self._check_posts(posts, job, len(lives))
                for life in lives:
                    self._check_life(story, said, job, life)
        for label, (life, *_) in by_label.items():
            self.record.violate(life.job, f"a job that nobody asked for: label {label}")

    def _check_posts(self, posts: list[Said], job: str, lives: int) -> None:
        """posts: every attempt of one POST. One without an answer, or with a 503, may still come to Redis later: it was on the way."""
        accepted = sum(post.was_done for post in posts)
        unknown = sum(not post.is_known for post in posts)
        if not accepted <= lives <= accepted + unknown:
            self.record.violate(job, f"{lives} lives of a POST whose attempts were answered with {[post.status for post in posts]}")

    def _check_life(self, story: Story, said: list[Said], job: str, life: Life) -> None:
        self.ends[story.kind, life.state if life.has_ended else life.end or life.state] += 1
        if not life.has_ended:
            if life.end != "deleted":
                self.record.violate(job, f"never ended: {life.state}")
            elif not any(one.verb in ("delete", "purge") and (one.was_done or not one.is_known) for one in said):
                self.record.violate(job, f"vanished in state {life.state}, and nobody deleted it")
        elif life.state == "FAILURE" and story.kind == "volatile" and "lost in a crash" in life.error:
            pass
        elif life.state not in story.expect:
            self.record.violate(job, f"{life.state} and not {' or '.join(story.expect)}: {life.error}")
        elif life.state == "FAILURE" and not life.error:
            self.record.violate(job, "FAILURE without a reason")

    def _check_missed(self, journal: Journal) -> None:
        """Nobody was told 404 of a job that was there all the while. (The journal's clock has whole seconds.)"""
        lives = journal.by_job()
        for story in self.stories.values():
            for said in self.record.story(story.id):
                job = said.path.rpartition("/")[2]
                if said.status == 404 and any(life.began + 1 < said.wall and said.wall + said.took < (life.gone or 1e12) - 1
                                              for life in lives.get(job, ())):
                    self.record.violate(job, f"{said.verb} at {said.at} s was answered with 404, and it was there")

    def _check_groups(self, journal: Journal) -> None:
        for story in self.stories.values():
            concurrency = story.steps[0].body.get("concurrency", 0) if story.kind == "group" and story.steps[0].body else 0
            if 0 < concurrency < journal.most.get(story.id, 0):
                self.record.violate(story.id, f"{journal.most[story.id]} of its jobs ran at once, and not {concurrency}")

    # --- results

    def expected(self, user: int, times: int) -> tuple[str, ...]:
        if (user, times) not in self._expected:
            self._expected[user, times] = self.looks.rows("pg", reports.expected_query(user, times))[0]
        return self._expected[user, times]

    def _check_results(self) -> None:
        """Every job that says SUCCESS has its rows, by its own word the number of them, and the registry knows the same run."""
        for name in list(self.stack.r.scan_iter(self.stack.key("job:*"), count=1000)):
            hash_ = self.stack.r.hgetall(name)
            if hash_.get("state") != "SUCCESS" or 0 < float(hash_["expires_at"]) < time.time() * 1000 + 2000:
                continue
            job, spec = str(name).partition("job:")[2], hash_["spec"]
            database = re.search(r"(?m)^results=(.*)$", spec)
            user, times, _, label = json.loads(spec.partition("\nargs=")[2])
            assert database
            try:
                found = self.looks.rows(database[1], reports.found_query(database[1], f"results_{job}"))[0]
            except Exception as error:  # each driver has its own
                self.record.violate(job, f"SUCCESS without a readable table: {error}")
                continue
            want = (*self.expected(int(user), int(times)), label, label)
            if found != want:
                self.record.violate(job, f"SUCCESS with the rows {found} and not {want}")
            if hash_["rows"] != want[0]:
                self.record.violate(job, f"says {hash_['rows']} rows and not {want[0]}")
            row = self.looks.rows(database[1], f"SELECT run, row_count FROM dungbeetle_results WHERE job_id = '{job}'")
            if [tuple(row_) for row_ in row] != [(hash_["run"], want[0])]:
                self.record.violate(job, f"the registry has {row} and not run {hash_['run']} with {want[0]} rows")

    def _check_tables(self) -> None:
        """After dungbeetle-expire: a table for each registry row and a row for each table; none of jobs that were deleted, none half done."""
        process = self.stack.start_expire()
        said, _ = process.communicate(timeout=60)
        if process.returncode:
            self.record.violate("", f"dungbeetle-expire ended with {process.returncode}: {said}")
        for database in reports.ALL_RESULTS:
            tables = self._tables(database)
            rows = {row[0]: row[1] for row in self.looks.rows(
                database, "SELECT table_name, job_id FROM dungbeetle_results WHERE table_name IS NOT NULL")}
            for table in sorted(tables - set(rows)):
                self.record.violate(table.removeprefix("results_"), f"a table in {database} without a registry row: {table}")
            for table in sorted(set(rows) - tables):
                self.record.violate(rows[table], f"a registry row in {database} without a table: {table}")
            for table, job in rows.items():
                if not self.stack.r.exists(self.stack.key(f"job:{job}")):
                    self.record.violate(job, f"a table in {database} of a job that is gone: {table}")

    def _tables(self, database: str) -> set[str]:
        if database != "rmy":
            found = self.looks.rows(database, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                                    " AND relname !~ '^dungbeetle_(results|recovered|marker|template_.*)$'")
        else:
            found = self.looks.rows(database, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
                                    " AND table_name <> 'dungbeetle_results'")
        return {name for (name,) in found}

    # --- runs

    def _check_runs(self, journal: Journal) -> None:
        """What the workers say they finished is what Redis took from them: a run that was not current has ended nothing."""
        taken = {(life.job, run) for life in journal.lives for run in life.runs[-1:] if life.has_ended}
        began = {(life.job, run) for life in journal.lives for run in life.runs}
        for worker in self.stack.workers:
            for match in re.finditer(r'job=(\S+) task=\S+ run=(\d+) outcome=(success|failure)', worker.log_text()):
                ended = (match[1], int(match[2]))
                if ended not in began:
                    self.record.violate(match[1], f"{worker.name} ended run {match[2]}, which never began")
                elif ended not in taken:
                    self.record.violate(match[1], f"{worker.name} says {match[3]} of run {match[2]}, which was not the last one")

    # --- nothing is left

    def _check_redis(self) -> None:
        r, key = self.stack.r, self.stack.key
        for name, n in self.left().items():
            self.record.violate("", f"left in Redis: {n} {name}")
        for queue in QUEUES:
            if pending := r.xpending(key(f"queue:{queue}"), "workers")["pending"]:
                self.record.violate("", f"left in Redis: {pending} pending entries of {queue}")
        known = {key(name) for name in ("runs", "epoch", "stats", "workers", *(f"queue:{queue}" for queue in QUEUES))}
        for name in r.scan_iter(key("*"), count=1000):
            if name in known:
                continue
            ttl = r.pttl(name)
            if not name.startswith((key("job:"), key("group:"))):
                self.record.violate("", f"a key that should not be there: {name}")
            elif ttl == -1:
                self.record.violate(name.split(":", 2)[2], f"{name} never expires")

    def _check_sources(self) -> None:
        """No query of a worker runs any more in a source."""
        def running() -> list[Any]:
            found = self.looks.rows("pg", "SELECT pid, application_name, query FROM pg_stat_activity WHERE state <> 'idle' AND"
                                    " pid <> pg_backend_pid() AND backend_type = 'client backend'")
            return found + self.looks.rows("rmy", "SELECT id, info FROM information_schema.processlist WHERE user = 'dungbeetle'"
                                           " AND command <> 'Sleep' AND info IS NOT NULL")
        try:
            wait_until(lambda: not running(), 10 * self.slow, "an end of the queries")
        except StackError:
            self.record.violate("", f"queries that still run: {running()[:5]}")


def _posted(said: list[Said]) -> list[tuple[list[Said], str, str]]:
    """Every POST of a job (its attempts, job id, label), those of a group one by one."""
    found: dict[str, tuple[list[Said], str, str]] = {}
    for one in said:
        if one.verb not in ("post", "group") or one.body is None:
            continue
        for job in one.body["jobs"] if one.verb == "group" else [one.body]:
            found.setdefault(job["args"][-1], ([], job["job_id"], job["args"][-1]))[0].append(one)
    return list(found.values())


def history(stack: LabStack, record: Record, journal: Journal | None, job: str, log: Callable[[str], Any]) -> None:
    """Everything that is known of a job."""
    story = re.match(r"s\d+-\d+-[a-z]+", job)
    for said in record.story(story[0] if story else job):
        log(f"  {said.at:8.3f} s {said.verb} {said.path} {json.dumps(said.body)} -> {said.status} {json.dumps(said.answer)} ({said.took} s)")
    for life in journal.by_job().get(job, ()) if journal else ():
        log(f"  journal: life {life.label} of group {life.group!r}, now {life.state} {life.end}")
        for line in life.log:
            log(f"    {line}")
    log(f"  redis: {stack.r.hgetall(stack.key(f'job:{job}'))}")
    for database in reports.ALL_RESULTS:
        try:
            log(f"  {database}: {stack.looks.rows(database, f'''SELECT * FROM dungbeetle_results WHERE job_id = '{job}' ''')}")
        except Exception as error:  # each driver has its own
            log(f"  {database}: {error}")
    for program in stack.programs().values():
        for line in program.log_text().splitlines():
            if re.search(rf"(?<![\w-]){re.escape(job)}(?![\w-])", line):
                log(f"  {program.name}: {line[:400]}")
