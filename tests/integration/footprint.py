"""What a FastCGI process holds: open files, threads, memory. The same before a storm and after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support import SANITIZED, SLOW, LiveStack, wait_until

GROWTH_MAX = 8 << 20  # of RSS, in bytes: what an idle process does not give back; a leak of a storm is more


@dataclass
class Footprint:
    files: int
    threads: int
    rss: int


def connections(stack: LiveStack) -> int:
    """Those that the process has accepted: they have the name that its socket was bound by."""
    name = f"/.{stack.fcgi[0].pid}.sock"
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(name) and line.split()[5] == "03" for line in lines)


def footprint(stack: LiveStack) -> Footprint:
    """Once nginx has closed the connections that it keeps (it does within seconds)."""
    wait_until(lambda: connections(stack) == 0, 30 * SLOW, "end of the connections to the FastCGI process", [stack.fcgi[0]])
    proc = Path(f"/proc/{stack.fcgi[0].pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    return Footprint(len(list((proc / "fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0]) * 1024)


def assert_no_growth(stack: LiveStack, before: Footprint) -> None:
    after = footprint(stack)
    assert (after.files, after.threads) == (before.files, before.threads)
    if not SANITIZED:  # sanitizers keep freed memory
        wait_until(lambda: footprint(stack).rss - before.rss < GROWTH_MAX, 10 * SLOW, f"memory to be given back, of which before there was {before}")
