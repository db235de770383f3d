"""Reads result tables while everything happens: who reads one sees a whole one, and nothing that nobody asked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random
from typing import Any

import psycopg
import reports
from labstack import LabStack, Looks
from plan import Story
from programs import StackError
from record import Record

PAUSE = 0.02  # seconds between two reads
AWAY = 0.3  # the same while the server is away


class Reader:
    """start(), then join(). reads: how many tables were read."""

    def __init__(self, stack: LabStack, stories: Sequence[Story], record: Record) -> None:
        self.reads = 0
        self._looks = Looks(stack)
        self._record = record
        self._asked = _asked(stories)
        self._expected: dict[tuple[int, int], tuple[str, ...]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reader", daemon=True)

    def start(self) -> Reader:
        self._thread.start()
        return self

    def join(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self._looks.close()

    def _work(self) -> None:
        random = Random(0)
        while not self._stop.is_set():
            pause = PAUSE
            try:
                self._read(random.choice(reports.ALL_RESULTS))
            except (StackError, OSError, psycopg.Error):  # the server is away, or the table has just gone
                pause = AWAY
            self._stop.wait(pause)

    def _read(self, database: str) -> None:
        order = "rand()" if database == "rmy" else "random()"
        row = self._looks.rows(database, f"SELECT job_id, table_name FROM dungbeetle_results WHERE table_name IS NOT NULL ORDER BY {order} LIMIT 1")
        if not row:
            return
        job, table = row[0]
        count, check, label, last = self._looks.rows(database, reports.found_query(database, table))[0]
        if database == reports.VOLATILE and count == "0":
            return  # emptied by a crash a moment ago: a worker will drop it (the checker sees that none stays)
        want = self._want(label)
        self.reads += 1
        if label != last or want != (count, check):
            self._record.violate(job, f"a reader of {table} in {database} saw {(count, check, label, last)} and not {want}")


    def _want(self, label: str) -> tuple[str, ...]:
        """What the source holds; nothing for a label that nobody has sent."""
        if label not in self._asked:
            return ()
        key = self._asked[label]
        if key not in self._expected:
            self._expected[key] = self._looks.rows("pg", reports.expected_query(*key))[0]
        return self._expected[key]


def _asked(stories: Sequence[Story]) -> dict[str, tuple[int, int]]:
    """(user, times) by label."""
    found: dict[str, tuple[int, int]] = {}
    bodies: list[dict[str, Any]] = [step.body for story in stories for step in story.steps if step.body is not None]
    for body in bodies:
        for job in body.get("jobs", [body]):
            if len(job["args"]) == 4:
                found[job["args"][3]] = (int(job["args"][0]), int(job["args"][1]))
    return found
