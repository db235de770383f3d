"""`make bench [ONLY=name] [BENCH_JSON=file]`: what DungBeetle costs, against plain tools that do the same work.

Starts a private stack, measures ours and the floor in turn, prints one line a figure:
    name ours floor ratio limit ok|SHORT
and ends with 1 if any is short, 2 when something could not be measured. Nothing is left running.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import rig as rig_module
from rig import HEADER, ROOT, BenchError, Figure, Rig
from stack import StackError
import figures_engines
import figures_http
import figures_jobs


@dataclass
class Bench:
    name: str
    lines: tuple[str, ...]  # the figures that it yields
    measure: Callable[[Rig], Iterator[Figure]]
    engines: bool = False  # does it need MariaDB and ClickHouse?


BENCHES = [
    Bench("big-pg", ("big-pg", "big-pg-args"), figures_jobs.big_pg),
    Bench("big-pg-rss", ("big-pg-rss", "big-pg-rss-5m"), figures_jobs.big_pg_rss),
    Bench("many-pg", ("many-pg",), figures_jobs.many_pg),
    Bench("small-pg", ("small-pg",), figures_jobs.small_pg),
    Bench("idle", ("idle",), figures_jobs.idle),
    Bench("post", ("post", "post-pool"), figures_http.post),
    Bench("status", ("status",), figures_http.status),
    *(Bench(way.name, (way.name, f"{way.name}-rss"), way.measure, True) for way in figures_engines.WAYS),
    Bench("small-my", ("small-my",), figures_engines.small_my, True),
]


def chosen(only: list[str]) -> list[Bench]:
    known = {word for bench in BENCHES for word in (bench.name, *bench.lines)}
    unknown = [word for word in only if word not in known]
    if unknown:
        sys.exit(f"bench: no figure {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [bench for bench in BENCHES if not only or set(only) & {bench.name, *bench.lines}]


def measure(rig: Rig, benches: list[Bench]) -> list[Figure]:
    figures = []
    print(HEADER, flush=True)
    for bench in benches:
        for figure in bench.measure(rig):
            print(figure.line(), flush=True)
            figures.append(figure)
    return figures


def quick_place(parent: Path) -> Path:
    """A directory below parent in which files are made quickly.

    ext4 puts a directory's files near it, does not use an inode again for some minutes, and looks at every such inode each
    time it makes a file: where tests have just deleted thousands of files, a new one (a table) takes 0.5 ms instead of 0.01.
    With the attribute T the directories below are spread over the disk; the best of them is taken. The files of the trial
    stay until the end, so as not to be deleted inodes themselves."""
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+T", parent], check=False, capture_output=True)
    seconds = {}
    for i in range(8):
        place = parent / str(i)
        place.mkdir()
        began = time.perf_counter()
        for j in range(100):
            (place / f"trial-{j}").touch()
        seconds[place] = time.perf_counter() - began
    return min(seconds, key=lambda place: seconds[place])


def run(options: argparse.Namespace, benches: list[Bench]) -> int:
    with tempfile.TemporaryDirectory(prefix="dungbeetle-bench-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL's user goes through it
        rig = Rig(quick_place(Path(directory)), ROOT / options.bin_dir, ROOT / options.bench_dir, runs=options.runs,
                  quick=options.quick, engines=any(bench.engines for bench in benches))
        with rig:
            facts = rig_module.machine(rig)
            figures = measure(rig, benches)
    if options.json:
        report: dict[str, Any] = {"machine": facts, "quick": options.quick, "figures": [figure.as_json() for figure in figures]}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(figure.ok for figure in figures) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default="bin", help="where our programs are")
    parser.add_argument("--bench-dir", default="build/release/bench", help="where the floors' programs are")
    parser.add_argument("--only", default="", help="names of figures, separated by spaces or commas")
    parser.add_argument("--json", help="keep everything in this file")
    parser.add_argument("--runs", type=int, default=5, help="of each side, an odd number of at least 3")
    parser.add_argument("--quick", action="store_true", help="small sizes, for work on the benchmarks themselves")
    options = parser.parse_args()
    benches = chosen(options.only.replace(",", " ").split())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(options, benches)
    except (BenchError, StackError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
