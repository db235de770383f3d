#!/usr/bin/env python3
"""The fault laboratory (make faults): a private stack, a generator of jobs and a breaker, both planned by the seed, and then a check
of everything that was promised. Exit status 1 on any violation; the plan, the record and the logs are kept then."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from labstack import ROOT, SERVERS, LabStack, Network  # noqa: E402  (it makes the paths of the other directories known)
from breaker import Breaker  # noqa: E402
from checker import Checker, history  # noqa: E402
from generator import Generator  # noqa: E402
from journal import Journal  # noqa: E402
from plan import Ground, faults, stories, write_plan  # noqa: E402
from record import Record  # noqa: E402
from support import SANITIZER_DIR, logged_reports, sanitizer_reports, set_sanitizer_options  # noqa: E402

SHOWN = 5  # violations with the history of their job
WORKERS, FCGI = 3, 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the plan; without it, one of the clock")
    parser.add_argument("--minutes", type=float, default=2.0, help="of jobs and faults")
    parser.add_argument("--bin-dir", default="bin", help="where the programs are")
    parser.add_argument("--only", default="", help="kinds of faults, comma-separated (another plan than the seed's own)")
    parser.add_argument("--keep", action="store_true", help="keep plan, record and logs of a run without violations too")
    return parser.parse_args()


def roomy_place() -> str:
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() and shutil.disk_usage(shm).free > 4 << 30 else "/tmp"


class Lab:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.seconds = args.minutes * 60
        self.slow = 4.0 if "asan" in args.bin_dir or "tsan" in args.bin_dir else 1.0
        self.dir = Path(tempfile.mkdtemp(prefix="dblab-", dir=roomy_place()))
        self.dir.chmod(0o755)
        self.artefacts = ROOT / "build" / "faults" / f"seed-{args.seed}"
        shutil.rmtree(self.artefacts, ignore_errors=True)
        self.artefacts.mkdir(parents=True)
        # One worker and one FastCGI process are never killed, so that their growth can be seen; one worker has no wires.
        self.survivors = (f"worker-{args.seed % WORKERS}", f"fcgi-{args.seed % FCGI}")
        self.direct = (f"worker-{(args.seed + 1) % WORKERS}", f"fcgi-{args.seed % FCGI}")

    def ground(self, stack: LabStack) -> Ground:
        programs = [program.name for program in [*stack.fcgi, *stack.workers]]
        servers = [name for name in SERVERS]
        wires = sorted(stack.network.wires) if stack.network else []
        return Ground([name for name in programs if name not in self.survivors], programs, servers, wires,
                      stack.disk is not None and not stack.disk.trouble, 3.0)

    def run(self) -> int:
        began = time.monotonic()
        with Network() as network:
            stack = LabStack(self.dir, bin_dir=self.args.bin_dir, network=network, direct=self.direct, workers=WORKERS, fcgi=FCGI)
            with stack:
                print(f"laboratory: seed {self.args.seed}, {self.args.minutes:g} minutes, {self.artefacts}", flush=True)
                failed = self._work(stack, began)
            failed |= self._after(stack)
        stack.remove()
        if not failed and not self.args.keep:
            shutil.rmtree(self.artefacts)
        return int(failed)

    def _work(self, stack: LabStack, began: float) -> bool:
        told = stories(self.args.seed, self.seconds)
        struck = faults(self.args.seed, self.seconds, self.ground(stack))
        if self.args.only:
            struck = [fault for fault in struck if fault.kind in self.args.only.split(",")]
        write_plan(self.artefacts / "plan.jsonl", told, struck)
        record = Record(self.artefacts / "record.jsonl")
        breaker = Breaker(stack, struck, record)
        checker = Checker(stack, told, record, self.slow)
        generator = Generator(told, stack.request, record).start()
        breaker.run(self.seconds, lambda: None)
        breaker.heal()
        generator.join(20 * self.slow)
        checker.await_quiet()
        checker.check()
        breaker.watch()
        self._report(stack, record, breaker, checker, time.monotonic() - began)
        record.close()
        return bool(record.violations)

    def _report(self, stack: LabStack, record: Record, breaker: Breaker, checker: Checker, took: float) -> None:
        if record.violations:
            journal = Journal(stack.redis.dir / "appendonlydir", stack.key(""))
            with (self.artefacts / "violations.txt").open("w") as out:
                for i, (job, text) in enumerate(record.violations):
                    lines = [f"violation: {job or '-'}: {text}"]
                    if job:
                        history(stack, record, journal, job, lines.append)
                    out.write("\n".join(lines) + "\n")
                    print("\n".join(lines if i < SHOWN else lines[:1]))
            print(f"laboratory: replay with: make faults SEED={self.args.seed} MINUTES={self.args.minutes:g}; artefacts in {self.artefacts}")
        by_kind: Counter[str] = Counter()
        for (kind, end), n in sorted(checker.ends.items()):
            by_kind[f"{kind} {end or 'nothing'}"] += n
        if stack.disk is not None and stack.disk.trouble:
            print(f"laboratory: no full disks here: {stack.disk.trouble}")
        print(f"laboratory: seed {self.args.seed}: {sum(checker.ends.values())} jobs ({_listed(by_kind)}); {sum(breaker.counts.values())} faults"
              f" ({_listed(breaker.counts)}; skipped {_listed(breaker.skipped) or 'none'}); restarts ({_listed(breaker.restarts)}); answers"
              f" ({_listed(record.statuses)}); {len(record.violations)} violations; {took:.0f} s", flush=True)

    def _after(self, stack: LabStack) -> bool:
        """When all have stopped: what sanitizers found; and the logs are kept."""
        for log in sorted(self.dir.rglob("*.log")):
            shutil.copy(log, self.artefacts / log.name)
        found = sanitizer_reports() + logged_reports(stack)  # type: ignore[arg-type]
        for report in found:
            print(f"violation: a sanitizer's report:\n{report}")
        return bool(found)


def _listed(counts: Counter) -> str:  # type: ignore[type-arg]
    return ", ".join(f"{name}: {n}" for name, n in sorted(counts.items()))


def main() -> int:
    set_sanitizer_options()
    try:
        return Lab(arguments()).run()
    finally:
        shutil.rmtree(SANITIZER_DIR, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
