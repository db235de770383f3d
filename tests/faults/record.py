"""What was asked and what was answered: kept in memory by job id, and as lines of JSON in a file. Any thread."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NO_ANSWER = 0  # the status of a request that was cut


@dataclass(frozen=True)
class Said:
    """A request and its answer; at: seconds from the start, wall: the clock at its begin, took: seconds."""

    at: float
    wall: float
    took: float
    story: str
    verb: str
    path: str
    body: dict[str, Any] | None
    status: int
    answer: Any  # the decoded answer, or the text of what went wrong

    @property
    def is_known(self) -> bool:
        """Does it say whether what was asked was done?"""
        return self.status not in (NO_ANSWER, 500, 502, 503, 504)

    @property
    def was_done(self) -> bool:
        return self.status == 200


class Record:
    def __init__(self, file: Path) -> None:
        self.began = time.monotonic()
        self.statuses: Counter[int] = Counter()
        self.violations: list[tuple[str, str]] = []  # (job id or '', what is wrong)
        self._by_story: dict[str, list[Said]] = {}
        self._lock = threading.Lock()
        self._file = file.open("a")

    def now(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def add(self, said: Said) -> None:
        with self._lock:
            self.statuses[said.status] += 1
            self._by_story.setdefault(said.story, []).append(said)
            self._file.write(json.dumps(asdict(said)) + "\n")

    def note(self, **fields: Any) -> None:
        """A line of another kind: a fault."""
        with self._lock:
            self._file.write(json.dumps({"at": self.now(), **fields}) + "\n")

    def violate(self, job: str, text: str) -> None:
        with self._lock:
            self.violations.append((job, text))
            self._file.write(json.dumps({"at": self.now(), "violation": text, "job": job}) + "\n")

    def story(self, story: str) -> list[Said]:
        """In the order in which they were asked."""
        with self._lock:
            return list(self._by_story.get(story, ()))

    def close(self) -> None:
        with self._lock:
            self._file.close()
