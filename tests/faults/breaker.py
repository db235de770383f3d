"""Carries out the planned faults and mends what they broke. One thread: the one that started the programs, because they die with it."""

from __future__ import annotations

import heapq
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

from labstack import LabStack, signal_group
from plan import Fault
from programs import Program, StackError
from record import Record

GONE_WITHIN = 30.0  # seconds that a polite stop may take


class Breaker:
    """run() until the time is over, then heal(). counts: faults by kind; restarts: by program."""

    def __init__(self, stack: LabStack, faults: Sequence[Fault], record: Record) -> None:
        self.stack = stack
        self.record = record
        self.counts: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._programs = stack.programs()
        self._down: set[str] = set()
        self._numbers = itertools.count()
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        for fault in faults:
            self._at(fault.at, lambda fault=fault: self._strike(fault))

    def _at(self, at: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (at, next(self._numbers), work))

    def run(self, until: float, tick: Callable[[], None]) -> None:
        """tick is called about once a second."""
        next_tick = 0.0
        while (now := self.record.now()) < until:
            if now >= next_tick:
                self.watch()
                tick()
                next_tick = now + 1.0
            if self._todo and self._todo[0][0] <= now:
                heapq.heappop(self._todo)[2]()
            else:
                time.sleep(max(0.0, min(next_tick, self._todo[0][0] if self._todo else until, until) - now))

    def watch(self) -> None:
        """Programs of ours that ended although nobody ended them."""
        for program in [*self.stack.fcgi, *self.stack.workers]:
            if program.name not in self._down and not program.alive():
                self.record.violate("", f"{program.name} ended by itself, status {program.returncode}: {program.log_tail(5)}")
                self._start(program.name)

    def heal(self) -> None:
        """Everything runs and nothing stands in its way."""
        while self._todo:
            heapq.heappop(self._todo)
        for wire in self.stack.network.wires.values() if self.stack.network else ():
            wire.mend()
        if self.stack.disk is not None:
            self.stack.disk.free()
        for name, program in self._programs.items():
            signal_group(program, signal.SIGCONT)
            if name in self._down or not program.alive():
                self._start(name)
        self._redis("0")

    # --- faults

    def _strike(self, fault: Fault) -> None:
        began = self.record.now()
        try:
            mend = self._faults()[fault.kind](fault)
        except (StackError, OSError) as error:
            self.record.note(skipped=fault.kind, target=fault.target, why=str(error)[:300])
            self.skipped[fault.kind] += 1
            return
        self.counts[fault.kind] += 1
        self.record.note(fault=fault.kind, target=fault.target, seconds=fault.seconds, arg=fault.arg, began=began)
        if mend is not None:
            self._at(self.record.now() + fault.seconds, lambda: self._mend(fault, mend))

    def _mend(self, fault: Fault, mend: Callable[[], None]) -> None:
        mend()
        self.record.note(mended=fault.kind, target=fault.target)

    def _faults(self) -> dict[str, Callable[[Fault], Callable[[], None] | None]]:
        return {"kill": self._kill, "kill-server": self._kill, "kill-nginx": self._kill, "restart": self._restart,
                "freeze": self._freeze, "freeze-server": self._freeze, "terminate": self._terminate, "slow": self._slow,
                "cut": self._cut, "silence": self._silence, "full-redis": self._full_redis, "full-disk": self._full_disk}

    def _kill(self, fault: Fault) -> Callable[[], None]:
        program = self._programs[fault.target]
        self._down.add(fault.target)
        if fault.target.startswith("pg_"):  # a SIGKILL would leave its sessions' processes behind
            program.stop(GONE_WITHIN, signal.SIGQUIT)
        else:
            signal_group(program, signal.SIGKILL)
            program.wait(GONE_WITHIN)
        return lambda: self._start(fault.target)

    def _restart(self, fault: Fault) -> Callable[[], None]:
        program = self._programs[fault.target]
        self._down.add(fault.target)
        program.signal(program.stop_signal)
        return lambda: self._start(fault.target)

    def _start(self, name: str) -> None:
        """Starts it when it has gone; its answers are not waited for."""
        program = self._programs[name]
        deadline = time.monotonic() + GONE_WITHIN
        while program.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if program.alive():
            self.record.violate("", f"{name} did not stop within {GONE_WITHIN:.0f} s")
            signal_group(program, signal.SIGKILL)
            program.wait(GONE_WITHIN)
        program.start()
        self.restarts[name] += 1
        self._down.discard(name)

    def _freeze(self, fault: Fault) -> Callable[[], None]:
        program: Program = self._programs[fault.target]
        signal_group(program, signal.SIGSTOP)
        return lambda: signal_group(program, signal.SIGCONT)

    def _terminate(self, fault: Fault) -> None:
        if fault.target == "mariadb":
            found = self.stack.mariadb.sql("SELECT id FROM information_schema.processlist WHERE user = 'dungbeetle'").split()
            self.stack.mariadb.sql(";".join(f"KILL {number}" for number in found)) if found else None
        elif fault.target.startswith("pg_"):
            self.stack.servers[fault.target].psql(
                "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        else:
            raise StackError(f"{fault.target} has no sessions")

    def _wire(self, fault: Fault):  # noqa: ANN202
        assert self.stack.network is not None
        return self.stack.network.wires[fault.target]

    def _slow(self, fault: Fault) -> Callable[[], None]:
        wire = self._wire(fault)
        wire.slow(fault.arg)
        return wire.mend

    def _cut(self, fault: Fault) -> Callable[[], None]:
        wire = self._wire(fault)
        wire.cut(int(fault.arg))
        return wire.mend

    def _silence(self, fault: Fault) -> Callable[[], None]:
        wire = self._wire(fault)
        wire.silence()
        return wire.mend

    def _redis(self, maxmemory: str) -> None:
        if self._programs["redis"].alive():
            self.stack.redis.cli("CONFIG", "SET", "maxmemory", maxmemory)

    def _full_redis(self, fault: Fault) -> Callable[[], None]:
        self._redis("1mb")
        return lambda: self._redis("0")

    def _full_disk(self, fault: Fault) -> Callable[[], None]:
        assert self.stack.disk is not None
        self.stack.disk.fill()
        return self.stack.disk.free
