"""What the laboratory does, as pure functions of the seed: the stories of jobs, and the faults. Times are seconds from the start."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from reports import RESULTS, SOURCES, USERS

STORIES = 5.0  # a second
QUEUES = ("default", "default", "reports", "slow")
PATIENT, IMPATIENT = 200, 0  # retries


@dataclass(frozen=True)
class Step:
    """One request. verb: post, group, get, delete, purge. insist: ask again until there is an answer that says what became of it."""

    at: float
    verb: str
    path: str
    body: dict[str, Any] | None = None
    eta_in: float | None = None  # of the job, seconds from the request
    insist: bool = True


@dataclass(frozen=True)
class Story:
    """The requests about one job or group, in the order of time. expect: how its jobs may end."""

    kind: str
    id: str
    steps: tuple[Step, ...]
    expect: tuple[str, ...] = ("SUCCESS",)


@dataclass(frozen=True)
class Fault:
    """kind, what is hit, for how long; `arg` is the kind's own."""

    at: float
    kind: str
    target: str
    seconds: float
    arg: float = 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Jobs


@dataclass
class _Writer:
    random: Random
    seed: int
    posts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def task(self, name: str = "lab") -> str:
        return f"{name}_{self.random.choice(SOURCES)}_{self.random.choice(RESULTS)}"

    def body(self, times: int, seconds: float = 0.0, **fields: Any) -> dict[str, Any]:
        args = [str(self.random.randint(1, USERS)), str(times), f"{seconds:.1f}", f"p{self.seed}-{next(self.posts)}"]
        return {"queue": self.random.choice(QUEUES), "retries": PATIENT, "ttl": 3600, "args": args, **fields}

    def post(self, at: float, job: str, body: dict[str, Any], task: str | None = None, **more: Any) -> Step:
        return Step(at, "post", f"/tasks/{task or self.task()}/jobs", {"job_id": job, **body}, **more)

    def soon(self, at: float, most: float) -> float:
        return round(at + self.random.uniform(0.02, most), 3)

    def chance(self, p: float) -> bool:
        return self.random.random() < p


def _small(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(w.random.choice((1, 1, 2, 5))), insist=w.chance(0.7)),)


def _medium(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(30)),)


def _large(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(w.random.choice((150, 300)))),)


def _slow(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(w.random.choice((1, 30)), w.random.uniform(0.5, 5))),)


def _eta(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(2), eta_in=round(w.random.uniform(0.5, 6), 1)),)


def _failing(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, {**w.body(0), "args": [f"p{w.seed}-{next(w.posts)}"]}, w.task("broken")),)


def _wrong(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, {**w.body(0), "args": [f"p{w.seed}-{next(w.posts)}"]}),)


def _late(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(1, 30, timeout=1, retries=1)),)


def _fragile(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(30, w.random.uniform(0, 1), retries=IMPATIENT), insist=False),)


def _brief(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(1, ttl=2)),)


def _twice(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    steps = [w.post(at, job, w.body(w.random.choice((1, 30)), w.random.choice((0, 0, 1))))]
    for _ in range(w.random.randint(1, 3)):
        steps.append(w.post(w.soon(steps[-1].at, 3), job, w.body(w.random.choice((1, 30))), insist=w.chance(0.5)))
    return tuple(steps)


def _cancelled(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    steps = [w.post(at, job, w.body(w.random.choice((1, 30)), w.random.uniform(0.5, 8)))]
    steps.append(Step(w.soon(at, 4), "delete", f"/jobs/{job}", insist=w.chance(0.7)))
    if w.chance(0.3):  # and asked for again
        steps.append(w.post(w.soon(steps[-1].at, 0.5), job, w.body(1)))
    return tuple(steps)


def _purged(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    return (w.post(at, job, w.body(w.random.choice((1, 30)))), Step(w.soon(at, 6), "purge", f"/jobs/{job}", insist=w.chance(0.7)))


def _group(w: _Writer, at: float, job: str) -> tuple[Step, ...]:
    jobs = [{"task": w.task(), "job_id": f"{job}-{i}", **w.body(w.random.choice((1, 30)), w.random.choice((0, 0.3, 1)))}
            for i in range(w.random.randint(2, 6))]
    steps = [Step(at, "group", "/groups", {"group_id": job, "concurrency": w.random.randint(0, 3), "jobs": jobs})]
    if w.chance(0.25):
        steps.append(Step(w.soon(at, 3), "delete", f"/groups/{job}"))
    elif w.chance(0.2):
        steps.append(Step(w.soon(at, 3), "delete", f"/jobs/{job}-{w.random.randrange(len(jobs))}"))
    return tuple(steps)


STORY_KINDS = {  # weight, writer, how its jobs may end
    "small": (28, _small, ("SUCCESS",)),
    "medium": (12, _medium, ("SUCCESS",)),
    "large": (6, _large, ("SUCCESS",)),
    "slow": (10, _slow, ("SUCCESS",)),
    "eta": (8, _eta, ("SUCCESS",)),
    "failing": (4, _failing, ("FAILURE",)),
    "wrong": (2, _wrong, ("FAILURE",)),
    "late": (2, _late, ("FAILURE",)),
    "fragile": (4, _fragile, ("SUCCESS", "FAILURE")),
    "brief": (4, _brief, ("SUCCESS",)),
    "twice": (6, _twice, ("SUCCESS",)),
    "cancelled": (8, _cancelled, ("SUCCESS",)),
    "purged": (4, _purged, ("SUCCESS",)),
    "group": (5, _group, ("SUCCESS",)),
}


def stories(seed: int, seconds: float) -> list[Story]:
    w = _Writer(Random(f"stories of {seed}"), seed)
    told: list[Story] = []
    at = 0.2
    while at < seconds:
        kind = w.random.choices(list(STORY_KINDS), [weight for weight, *_ in STORY_KINDS.values()])[0]
        _, write, expect = STORY_KINDS[kind]
        job = f"s{seed}-{len(told)}-{kind}"
        steps = list(write(w, round(at, 3), job))
        if w.chance(0.4):
            path = "/groups/" if kind == "group" else "/jobs/"
            steps.append(Step(w.soon(at, 6), "get", path + job, insist=False))
        told.append(Story(kind, job, tuple(sorted(steps, key=lambda step: step.at)), expect))
        at += w.random.expovariate(STORIES)
    return told


# ---------------------------------------------------------------------------------------------------------------------
# Faults


@dataclass(frozen=True)
class Ground:
    """What faults may hit. mortal: programs that may be killed; frozen: those that may be stopped for a while."""

    mortal: Sequence[str]
    frozen: Sequence[str]
    servers: Sequence[str]
    wires: Sequence[str]
    disk: bool
    lease: float


def _fault_kinds(g: Ground) -> dict[str, tuple[int, Sequence[str], tuple[float, float], tuple[float, float]]]:
    """By kind: weight, targets, least and most seconds, least and most arg."""
    none = (0.0, 0.0)
    kinds: dict[str, tuple[int, Sequence[str], tuple[float, float], tuple[float, float]]] = {
        "kill": (10, g.mortal, (0.1, 4), none),
        "kill-server": (5, [name for name in g.servers if name != "nginx"], (0.1, 4), none),
        "restart": (6, [*g.mortal, "nginx", *g.servers], (0.1, 3), none),
        "kill-nginx": (2, ["nginx"], (0.1, 2), none),
        "freeze": (6, g.frozen, (0.3 * g.lease, 2.5 * g.lease), none),
        "freeze-server": (3, g.servers, (0.5, 4), none),
        "terminate": (6, [name for name in g.servers if name != "redis"], none, none),
        "slow": (5, g.wires, (2, 8), (0.005, 0.3)),
        "cut": (8, g.wires, (0.5, 4), (0, 60_000)),
        "silence": (6, g.wires, (0.5, 4 * g.lease), none),
        "full-redis": (3, ["redis"], (0.5, 4), none),
    }
    if g.disk:
        kinds["full-disk"] = (3, ["disk"], (0.5, 5), none)
    return {name: kind for name, kind in kinds.items() if kind[1]}


def faults(seed: int, seconds: float, ground: Ground) -> list[Fault]:
    """No target is hit twice at once; a server and its wires are different targets."""
    random = Random(f"faults of {seed}")
    kinds = _fault_kinds(ground)
    busy: dict[str, float] = {}
    found: list[Fault] = []
    at = 2.0
    while at < seconds:
        kind = random.choices(list(kinds), [weight for weight, *_ in kinds.values()])[0]
        _, targets, (least, most), (low, high) = kinds[kind]
        target = targets[random.randrange(len(targets))]
        lasts, arg = round(random.uniform(least, most), 2), round(random.uniform(low, high), 3)
        if kind == "cut" and random.random() < 0.3:
            arg = 0.0
        if busy.get(target, 0.0) <= at and at + lasts < seconds:
            found.append(Fault(round(at, 2), kind, target, lasts, arg))
            busy[target] = at + lasts + 1.0
            at += random.uniform(0.3, 2.2)
        else:
            at += 0.05
    return found


def write_plan(file: Path, told: Sequence[Story], struck: Sequence[Fault]) -> None:
    with file.open("w") as out:
        for story in told:
            out.write(json.dumps({"story": asdict(story)}) + "\n")
        for fault in struck:
            out.write(json.dumps({"fault": asdict(fault)}) + "\n")
