"""The clients of the several-hosts test: they post jobs and keep a record of what was accepted."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Iterator

from hosts_stack import HostsStack
from stack import StackError, wait_until

KINDS = ["hosts_quick", "hosts_slow", "hosts_trickle", "hosts_my_quick", "hosts_my_slow", "hosts_ch_quick", "hosts_ch_slow"]
INTO_MARIADB = ("hosts_trickle", "hosts_my_slow", "hosts_ch_slow")
CLIENTS = 3
BACKLOG = 20  # jobs not finished at which no more are posted
RETRIES = 50  # a connection that breaks in mid-query costs one


@dataclass(frozen=True)
class Job:
    id: str
    task: str
    rows: int
    label: str
    results: str
    posts: int  # that may have been carried out


class Clients:
    def __init__(self, stack: HostsStack, chance: random.Random) -> None:
        self.stack = stack
        self.jobs: dict[str, Job] = {}  # accepted and not yet checked
        self.before = 0  # accepted and checked
        self.ends = 0  # that those had
        self.deleted = 0
        self._chance = chance
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def total(self) -> int:
        return self.before + len(self.jobs)

    def accepted_now(self) -> int:
        return len(self.jobs)

    @contextlib.contextmanager
    def posting(self) -> Iterator[None]:
        """Jobs are posted all the while."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._work, args=(stop,), daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(120)
        if self._errors:
            raise self._errors[0]

    def _work(self, stop: threading.Event) -> None:
        try:
            while not stop.wait(0.3):
                if int(self.stack.redis.cli("XLEN", f"{self.stack.redis_prefix}queue:default")) >= BACKLOG:
                    continue
                with self._lock:
                    kind = self._chance.choice(KINDS)
                self.submit(kind)
        except BaseException as error:
            self._errors.append(error)

    def submit(self, kind: str, rows: int | None = None, seconds: int | None = None, **fields: Any) -> Job:
        """Posts until it is known that the job was accepted; 409: the first answer was lost on its way."""
        with self._lock:
            rows = self._chance.choice([0, 1, 10, 100, 20_000]) if rows is None else rows
            seconds = self._chance.choice([1, 2, 8]) if seconds is None else seconds
        if kind.startswith("hosts_ch_slow"):
            seconds = min(seconds, 3)  # the most that its sleep() takes
        if kind == "hosts_trickle":
            rows = max(rows, 100)
        job_id, label = f"h-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
        args = [label, str(rows), *([str(seconds)] if kind.endswith(("slow", "trickle")) else [])]
        body = {"job_id": job_id, "args": args, "retries": RETRIES, **fields}
        status, answer, posts = self._insist("POST", f"/tasks/{kind}/jobs", body)
        if status not in (200, 409):
            raise StackError(f"POST of {kind}: {status} {answer}")
        job = Job(job_id, kind, rows, label, "my_reports" if kind in INTO_MARIADB else "reports", posts)
        with self._lock:
            self.jobs[job.id] = job
        return job

    def insist(self, method: str, path: str) -> tuple[int, Any]:
        """Asks again as long as a part of the service is away."""
        return self._insist(method, path)[:2]

    def _insist(self, method: str, path: str, body: Any = None, timeout: float = 120.0) -> tuple[int, Any, int]:
        """... and how often it asked: what was answered so may have been carried out all the same."""
        asked = 0

        def ask() -> tuple[int, Any, int] | None:
            nonlocal asked
            asked += 1
            try:
                status, answer, _ = self.stack.request(method, path, body, timeout=5)
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
                return None
            if status in (502, 503, 504):
                time.sleep(0.2)
                return None
            return status, answer, asked
        return wait_until(ask, timeout, f"an answer of {method} {path}", self.stack.fcgi)

    def wait(self, job: Job, timeout: float) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            status, answer = self.insist("GET", f"/jobs/{job.id}")
            if status != 200:
                raise StackError(f"GET of {job}: {status} {answer}")
            data: dict[str, Any] = answer["data"]
            time.sleep(0 if data["state"] in ("SUCCESS", "FAILURE") else 0.1)
            return data if data["state"] in ("SUCCESS", "FAILURE") else None
        return wait_until(look, timeout, f"the end of {job}", self.stack.programs())

    def wait_all(self, timeout: float) -> dict[str, Job]:
        deadline = time.monotonic() + timeout
        for job in list(self.jobs.values()):
            self.wait(job, max(1.0, deadline - time.monotonic()))
        return self.jobs

    def forget(self, job: Job) -> None:
        """It was deleted."""
        del self.jobs[job.id]
        self.deleted += 1

    def checked(self, ends: int) -> None:
        """All of them; they had so many ends."""
        self.ends += ends
        self.before += len(self.jobs)
        self.jobs = {}
