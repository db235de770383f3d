"""What happened to every job, from Redis' append-only file: it holds the effects of all scripts, in order, through every crash of
Redis. (The laboratory's Redis never rewrites it.)

A life is what one accepted POST of a job began: it is told from other ones of the same id by the label, the last argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FINAL = ("SUCCESS", "FAILURE")
BEFORE = {  # the states from which a state may be reached
    "PENDING": ("", "STARTED"),
    "STARTED": ("PENDING", "STARTED", "RETRY"),
    "RETRY": ("STARTED",),
    "SUCCESS": ("STARTED",),
    "FAILURE": ("", "STARTED", "SUCCESS"),
}


@dataclass
class Life:
    """state: the last one; end: how the hash went ('' while it is there): deleted, replaced, expired."""

    job: str
    label: str
    group: str
    began: int  # seconds, of Redis' clock
    state: str = ""
    run: int = 0
    runs: list[int] = field(default_factory=list)
    outages: int = 0
    error: str = ""
    end: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.state in FINAL


def commands(directory: Path) -> Iterator[tuple[int, list[str]]]:
    """(the clock in seconds, words) of every command, in order."""
    clock = 0
    for file in sorted(directory.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3])):
        data, at = file.read_bytes(), 0
        while at < len(data):
            line = data.index(b"\r\n", at)
            if data[at : at + 1] == b"#":
                clock = int(data[at + 4 : line])
                at = line + 2
                continue
            count, at = int(data[at + 1 : line]), line + 2
            words = []
            for _ in range(count):
                line = data.index(b"\r\n", at)
                size = int(data[at + 1 : line])
                words.append(data[line + 2 : line + 2 + size].decode(errors="replace"))
                at = line + 2 + size + 2
            if len(words) == count:
                yield clock, words


def label_of(spec: str) -> str:
    """The last of the args that a spec holds."""
    args = json.loads(spec.partition("\nargs=")[2] or "[]")
    return str(args[-1]) if args else ""


def group_of(spec: str) -> str:
    return next((line[6:] for line in spec.split("\n") if line.startswith("group=")), "")


class Journal:
    """lives: all of them, in order of beginning. problems: (job id, what should not have happened)."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self.lives: list[Life] = []
        self.problems: list[tuple[str, str]] = []
        self._now: dict[str, Life] = {}
        self._last_run = 0
        for clock, words in commands(directory):
            if len(words) > 1 and words[1].startswith(f"{prefix}job:"):
                self._command(clock, words[0].upper(), words[1][len(prefix) + 4 :], words[2:])

    def by_job(self) -> dict[str, list[Life]]:
        found: dict[str, list[Life]] = {}
        for life in self.lives:
            found.setdefault(life.job, []).append(life)
        return found

    def _command(self, clock: int, name: str, job: str, words: list[str]) -> None:
        life = self._now.get(job)
        if name in ("HSET", "HMSET"):
            fields = dict(zip(words[::2], words[1::2], strict=True))
            if "spec" in fields or life is None:
                life = self._begin(clock, job, fields, life)
            self._set(clock, life, fields)
        elif life is None:
            return
        elif name in ("DEL", "UNLINK"):
            life.end = "deleted"
            life.log.append(f"{clock} {name}")
            del self._now[job]
        elif name == "HINCRBY" and words[0] == "deaths":
            life.log.append(f"{clock} its worker is dead")

    def _begin(self, clock: int, job: str, fields: dict[str, str], old: Life | None) -> Life:
        """(enqueue.lua writes the error of a job that fails at once before its spec.)"""
        if old is not None and not old.label and not old.state:
            life = old
        else:
            if old is not None:
                self.problems.append((job, f"accepted anew over what was there in state {old.state}"))
            life = self._now[job] = Life(job, "", "", clock)
            self.lives.append(life)
        life.label, life.group = label_of(fields.get("spec", "")), group_of(fields.get("spec", ""))
        return life

    def _set(self, clock: int, life: Life, fields: dict[str, str]) -> None:
        life.error = fields.get("error", life.error)
        state = fields.get("state")
        if state is None:
            return
        life.log.append(f"{clock} {state} " + " ".join(f"{key}={fields[key]}" for key in ("run", "worker", "entry", "rows", "error") if fields.get(key)))
        if life.state not in BEFORE[state]:
            self.problems.append((life.job, f"from state {life.state or 'nothing'} to {state}"))
        if state == "STARTED":
            run = int(fields["run"])
            if run <= self._last_run:
                self.problems.append((life.job, f"run {run} began after run {self._last_run}"))
            self._last_run = life.run = run
            life.runs.append(run)
        life.state = state
