"""File descriptors, threads and memory of the programs that live through it all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from programs import Program, StackError, wait_until
from record import Record

SETTLE = 1.0  # seconds without a change
MORE_MEMORY = (1.25, 8 << 20)  # by what factor, and how many bytes more, than at the end of the first half


@dataclass(frozen=True)
class Size:
    fds: int
    threads: int
    rss: int  # bytes

    @classmethod
    def of(cls, pid: int) -> Size:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), int(status["VmRSS"].split()[0]) << 10)


class Growth:
    """begin() before the first job, middle() at half time, end() when all is quiet and idle connections have been closed."""

    def __init__(self, programs: Sequence[Program], record: Record, *, memory: bool) -> None:
        self._programs = list(programs)
        self._record = record
        self._memory = memory  # a sanitizer keeps what was freed
        self._pids = {program.name: program.pid for program in programs}
        self._first: dict[str, Size] = {}
        self._middle: dict[str, Size] = {}

    def begin(self, slow: float) -> None:
        for program in self._programs:
            seen = [(self._record.now(), Size.of(program.pid))]

            def settled(program: Program = program, seen: list[tuple[float, Size]] = seen) -> bool:
                size = Size.of(program.pid)
                if (size.fds, size.threads) != (seen[0][1].fds, seen[0][1].threads):
                    seen[0] = (self._record.now(), size)
                return self._record.now() - seen[0][0] > SETTLE

            wait_until(settled, 20 * slow, f"rest of {program.name}")
            self._first[program.name] = seen[0][1]

    def middle(self) -> None:
        for program in self._programs:
            if program.pid == self._pids[program.name] and program.alive():
                self._middle.setdefault(program.name, Size.of(program.pid))

    def end(self, slow: float) -> list[str]:
        """A line for each program."""
        return [self._end_of(program, slow) for program in self._programs
                if program.pid == self._pids[program.name] and program.alive()]

    def _end_of(self, program: Program, slow: float) -> str:
        first, middle = self._first[program.name], self._middle.get(program.name, self._first[program.name])
        try:
            wait_until(lambda: Size.of(program.pid).fds <= first.fds, 20 * slow, "idle connections are closed")
        except StackError:
            names = sorted(os.readlink(entry) for entry in Path(f"/proc/{program.pid}/fd").iterdir())
            self._record.violate("", f"{program.name} has more file descriptors than before: {len(names)}, not {first.fds}: {names}")
        last = Size.of(program.pid)
        if last.threads > first.threads:
            self._record.violate("", f"{program.name} has {last.threads} threads and not {first.threads}")
        if self._memory and last.rss > middle.rss * MORE_MEMORY[0] + MORE_MEMORY[1]:
            self._record.violate("", f"{program.name} has grown from {middle.rss >> 10} to {last.rss >> 10} KiB")
        return (f"{program.name}: {first.fds}->{last.fds} fds, {first.threads}->{last.threads} threads,"
                f" {first.rss >> 10}->{middle.rss >> 10}->{last.rss >> 10} KiB")
