"""Figures of whole jobs, from POST to SUCCESS: big-pg, many-pg, small-pg, idle."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Iterator

from rig import SLOTS, BenchError, Figure, Program, Rig, clean_environment, in_turn, median_of, run_tool

COLUMNS = ("id bigint, user_id bigint, entry_date date, created_at timestamptz, amount numeric(18,4), currency char(3), "
           "memo text, flagged boolean")
BIG_LIMIT, MANY_LIMIT, SMALL_LIMIT, IDLE_LIMIT_MS = 1.15, 1.2, 0.45, 2.0
RSS_LIMIT_MB, RSS_TOLERANCE_MB = 40.0, 2.0
MANY_JOBS, MANY_ROWS = 30, 20_000
SMALL_ROWS, SMALL_GROUP = 10, 1000  # rows of a job; jobs of a group (limits.group_jobs)
IDLE_PAUSE_US = 2000  # between two jobs, ours and the floor's


# ---------------------------------------------------------------------------------------------------------------------
# Plain pipes


def pipe(rig: Rig, query: str, table: str) -> None:
    """psql COPY TO | psql COPY FROM, over TCP as our own connections."""
    psql = [rig.tool("psql"), "-qX", "-v", "ON_ERROR_STOP=1"]
    environment = clean_environment()
    with subprocess.Popen([*psql, "-d", rig.source_url, "-c", f"COPY ({query}) TO STDOUT (FORMAT binary)"],
                          stdout=subprocess.PIPE, env=environment) as reader:
        writer = subprocess.run([*psql, "-d", rig.results_url, "-c", f"COPY {table} FROM STDIN (FORMAT binary)"],
                                stdin=reader.stdout, env=environment, check=False)
    if reader.returncode != 0 or writer.returncode != 0:
        raise BenchError(f"psql failed: {reader.returncode}, {writer.returncode}")


def fresh_tables(rig: Rig, n: int) -> list[str]:
    names = [f"floor_{i}" for i in range(n)]
    rig.pg.psql("reports", "; ".join(f"CREATE UNLOGGED TABLE {name} ({COLUMNS})" for name in names))
    return names


def check_rows(rig: Rig, pattern: str, wanted: int) -> None:
    """All rows of the tables whose names match are there."""
    names = rig.pg.psql("reports", f"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '{pattern}'").split()
    got = sum(int(rig.pg.psql("reports", f'SELECT count(*) FROM "{name}"')) for name in names)
    if got != wanted:
        raise BenchError(f"{got} rows in {len(names)} tables {pattern}, {wanted} are wanted")


# ---------------------------------------------------------------------------------------------------------------------
# big-pg


def one_job(rig: Rig, task: str, args: list[str], rows: int) -> float:
    """Seconds from the POST until GET says SUCCESS."""
    with rig.http() as http:
        body = json.dumps({"args": args}).encode()
        began = time.perf_counter()
        job_id = json.loads(http.call("POST", f"/tasks/{task}/jobs", body))["data"]["job_id"]
        while True:
            answer = http.call("GET", f"/jobs/{job_id}")
            if b'"SUCCESS"' in answer or b'"FAILURE"' in answer:
                break
            time.sleep(0.003)
            http.refresh()
        seconds = time.perf_counter() - began
    job = json.loads(answer)["data"]
    if job["state"] != "SUCCESS" or job["count"] != rows:
        raise BenchError(f"{task}: {answer!r}")
    return seconds


def big_floor(rig: Rig, query: str) -> float:
    rig.clear_tables()
    table = fresh_tables(rig, 1)[0]
    began = time.perf_counter()
    pipe(rig, query, table)
    seconds = time.perf_counter() - began
    check_rows(rig, "^floor_0$", rig.entries)
    rig.clear_tables()
    return seconds


def big_ours(rig: Rig, task: str, args: list[str]) -> float:
    rig.clear_tables()
    seconds = one_job(rig, task, args, rig.entries)
    check_rows(rig, "^results_", rig.entries)
    rig.clear_tables()
    return seconds


def big_time(rig: Rig, name: str, task: str, args: list[str], limit: float | None) -> Figure:
    query = rig.queries[task].replace("$1::bigint", "0")
    results = in_turn(rig.runs, {"ours": lambda: big_ours(rig, task, args), "floor": lambda: big_floor(rig, query)})
    ours, floor = median_of(results["ours"]), median_of(results["floor"])
    return Figure(name, ours, floor, ours / floor, limit, "s", runs=results, note=f"{rig.entries} rows; floor: psql | psql")


def peak_rss_mb(program: Program) -> float:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{program.pid}/status").read_text())
    if not found:
        raise BenchError("no VmHWM of the worker")
    return int(found[1]) / 1024


def rss_after(rig: Rig, tasks: dict[str, list[str]], rows: int) -> float:
    """Peak RSS of a fresh worker that has run these tasks."""
    worker = rig.start_worker()
    for task, args in tasks.items():
        one_job(rig, task, args, rows)
        rig.clear_tables()
    peak = peak_rss_mb(worker)
    rig.stop_worker(worker)
    return peak


def big_pg(rig: Rig) -> Iterator[Figure]:
    worker = rig.start_worker()
    yield big_time(rig, "big-pg", "bench_big", [], BIG_LIMIT)
    yield big_time(rig, "big-pg-args", "bench_big_args", ["0"], None)
    rig.stop_worker(worker)


def big_pg_rss(rig: Rig) -> Iterator[Figure]:
    big = [rss_after(rig, {"bench_big": [], "bench_big_args": ["0"]}, rig.entries) for _ in range(rig.runs)]
    huge = [rss_after(rig, {"bench_huge": [], "bench_huge_args": ["0"]}, 5 * rig.entries)]
    note = "peak of a fresh worker, with and without arguments"
    yield Figure("big-pg-rss", max(big), None, max(big), RSS_LIMIT_MB, "MB", "MB", note=f"{rig.entries} rows; {note}",
                 runs={"ours": big})
    yield Figure("big-pg-rss-5m", max(huge), max(big), max(huge) - max(big), RSS_TOLERANCE_MB, "MB", "MB",
                 note=f"{5 * rig.entries} rows; floor: big-pg-rss; ratio: difference", runs={"ours": huge})


# ---------------------------------------------------------------------------------------------------------------------
# many-pg


def post_groups(rig: Rig, task: str, arguments: list[list[str]]) -> tuple[list[str], float]:
    """Posts the jobs as groups; their ids, and when the first POST began."""
    parts = [arguments[i:i + SMALL_GROUP] for i in range(0, len(arguments), SMALL_GROUP)]
    bodies = [json.dumps({"jobs": [{"task": task, "args": args} for args in part]}).encode() for part in parts]
    with rig.http() as http:
        began = time.perf_counter()
        answers = [http.call("POST", "/groups", body) for body in bodies]
    return [job["job_id"] for answer in answers for job in json.loads(answer)["data"]["jobs"]], began


def many_starts(rig: Rig) -> list[int]:
    """First ids of the pieces: spread over the ledger."""
    return [1 + i * (rig.entries - MANY_ROWS) // MANY_JOBS for i in range(MANY_JOBS)]


def many_ours(rig: Rig, worker: Program) -> float:
    rig.clear_tables()
    ids, began = post_groups(rig, "bench_many", [[str(start)] for start in many_starts(rig)])
    seconds = rig.wait_empty(ids, worker) - began
    check_rows(rig, "^results_", MANY_JOBS * MANY_ROWS)
    rig.clear_tables()
    return seconds


def many_floor(rig: Rig) -> float:
    rig.clear_tables()
    work: SimpleQueue[tuple[str, str]] = SimpleQueue()
    failures: list[BaseException] = []
    for start, table in zip(many_starts(rig), fresh_tables(rig, MANY_JOBS)):
        work.put((rig.queries["bench_many"].replace("$1::bigint", str(start)), table))

    def pump() -> None:
        try:
            while True:
                pipe(rig, *work.get_nowait())
        except Empty:
            pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=pump) for _ in range(SLOTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    check_rows(rig, "^floor_[0-9]+$", MANY_JOBS * MANY_ROWS)
    rig.clear_tables()
    return seconds


def many_pg(rig: Rig) -> Iterator[Figure]:
    worker = rig.start_worker()
    results = in_turn(rig.runs, {"ours": lambda: many_ours(rig, worker), "floor": lambda: many_floor(rig)})
    rig.stop_worker(worker)
    ours, floor = median_of(results["ours"]), median_of(results["floor"])
    yield Figure("many-pg", ours, floor, ours / floor, MANY_LIMIT, "s", runs=results,
                 note=f"{MANY_JOBS} jobs of {MANY_ROWS} rows; floor: {SLOTS} psql | psql at a time")


# ---------------------------------------------------------------------------------------------------------------------
# small-pg


def make_template(rig: Rig) -> None:
    """The TOAST-free form."""
    plain = "".join(f"ALTER TABLE floor_template ALTER {column} SET STORAGE PLAIN; " for column in ("amount", "currency", "memo"))
    rig.pg.psql("reports", f"DROP TABLE IF EXISTS floor_template; CREATE TABLE floor_template ({COLUMNS}); {plain}")


def literal_rows(rig: Rig) -> str:
    """The rows of one job as VALUES."""
    query = rig.queries["bench_small"].replace("$1::bigint", "1")
    columns = " || ', ' || ".join(f"coalesce(quote_literal({column.split()[0]}), 'NULL')" for column in COLUMNS.split(", "))
    rows = rig.pg.psql("ledger", f"SELECT '(' || {columns} || ')' FROM ({query}) q").splitlines()
    if len(rows) != SMALL_ROWS:
        raise BenchError(f"{len(rows)} rows: {query}")
    return ", ".join(rows)


def small_floor(rig: Rig, script: Path, jobs: int) -> float:
    """Tables a second, by pgbench."""
    rig.clear_tables()
    output = run_tool([rig.tool("pgbench"), "-n", "-c", str(SLOTS), "-j", "2", "-t", str(jobs // SLOTS), "-D", "i=0",
                       "-f", script, rig.results_url + "?options=-c%20synchronous_commit%3Doff"])
    found = re.search(r"tps = ([0-9.]+) \(without initial", output)
    done = re.search(r"number of failed transactions: 0 ", output)
    if not found or not done:
        raise BenchError(f"pgbench: {output}")
    check_tables(rig, "^floor_r[0-9]+$", jobs)
    rig.clear_tables()
    return float(found[1])


def check_tables(rig: Rig, pattern: str, wanted: int) -> None:
    """So many tables, and the last ones hold their rows."""
    sql = f"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '{pattern}'"
    names = rig.pg.psql("reports", sql).split()
    rows = [rig.pg.psql("reports", f'SELECT count(*) FROM "{name}"') for name in names[-3:]]
    if len(names) != wanted or set(rows) != {str(SMALL_ROWS)}:
        raise BenchError(f"{len(names)} tables {pattern}, {wanted} are wanted; rows {rows}")


def small_ours(rig: Rig, worker: Program, jobs: int) -> float:
    """Jobs a second."""
    rig.clear_tables()
    ids, began = post_groups(rig, "bench_small", [[str(1 + i * SMALL_ROWS)] for i in range(jobs)])
    seconds = rig.wait_empty(ids, worker) - began
    check_tables(rig, "^results_", jobs)
    rig.clear_tables()
    return jobs / seconds


def small_pg(rig: Rig) -> Iterator[Figure]:
    jobs = 500 if rig.quick else 2000
    make_template(rig)
    script = rig.directory / "small.pgbench"
    script.write_text("\\set i :i + 1\n\\set n :client_id * 1000000 + :i\n"
                      "BEGIN \\; CREATE TABLE floor_r:n (LIKE floor_template INCLUDING STORAGE) \\; "
                      f"INSERT INTO floor_r:n VALUES {literal_rows(rig)} \\; COMMIT;\n")
    worker = rig.start_worker()
    results = in_turn(rig.runs, {"ours": lambda: small_ours(rig, worker, jobs), "floor": lambda: small_floor(rig, script, jobs)})
    rig.stop_worker(worker)
    ours, floor = median_of(results["ours"]), median_of(results["floor"])
    yield Figure("small-pg", ours, floor, ours / floor, SMALL_LIMIT, "jobs/s", at_most=False, runs=results,
                 note=f"{jobs} jobs of {SMALL_ROWS} rows; floor: pgbench")


# ---------------------------------------------------------------------------------------------------------------------
# idle


def idle_ours(rig: Rig, jobs: int) -> list[float]:
    """Milliseconds from POST to SUCCESS, each job by itself, seen by a client that looks every millisecond."""
    rig.clear_tables()
    taken = []
    with rig.http() as http:
        for i in range(jobs):
            http.refresh()
            time.sleep(IDLE_PAUSE_US / 1e6)
            body = b'{"args":["%d"]}' % (i + 1)
            began = time.perf_counter()
            answer = http.call("POST", "/tasks/bench_small/jobs", body)
            path = "/jobs/" + json.loads(answer)["data"]["job_id"]
            look = began
            while b'"SUCCESS"' not in answer:
                look += 0.001
                time.sleep(max(0.0, look - time.perf_counter()))
                answer = http.call("GET", path)
                if b'"FAILURE"' in answer or look - began > 10:
                    raise BenchError(f"the job does not end well: {answer!r}")
            taken.append((time.perf_counter() - began) * 1000)
    check_tables(rig, "^results_", jobs)
    rig.clear_tables()
    return taken


def idle_floor(rig: Rig, jobs: int) -> list[float]:
    rig.clear_tables()
    output = run_tool([rig.bench_dir / "floor_sql", rig.source_url, rig.results_url, rig.queries["bench_small"], str(jobs),
                       str(IDLE_PAUSE_US)])
    rig.pg.psql("reports", "TRUNCATE floor_registry")
    check_tables(rig, "^floor_[0-9]+$", jobs)
    rig.clear_tables()
    return [int(line) / 1000 for line in output.split()]


def idle(rig: Rig) -> Iterator[Figure]:
    jobs = 100 if rig.quick else 300
    worker = rig.start_worker()
    make_template(rig)
    rig.pg.psql("reports", "DROP TABLE IF EXISTS floor_registry; CREATE TABLE floor_registry (LIKE dungbeetle_results INCLUDING ALL)")
    results: dict[str, list[Any]] = in_turn(rig.runs, {"ours": lambda: idle_ours(rig, jobs), "floor": lambda: idle_floor(rig, jobs)})
    rig.stop_worker(worker)
    medians = {side: [median_of(run) for run in results[side]] for side in results}
    ours, floor = median_of(medians["ours"]), median_of(medians["floor"])
    yield Figure("idle", ours, floor, ours - floor, IDLE_LIMIT_MS, "ms", "ms", runs={**results, "medians": [medians]},
                 note=f"medians of {jobs}; floor: the same SQL alone; ratio: difference")

