"""Figures of whole jobs between different engines: my-my, my-pg, pg-my, ch-pg, ch-my, and small-my. The floors are the plain
clients: mariadb --quick or curl or psql writes into a fifo, LOAD DATA LOCAL or COPY reads it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator

from engines import PASSWORD, USER
from figures_jobs import RSS_LIMIT_MB, SMALL_ROWS, check_rows, fresh_tables, one_job, peak_rss_mb, post_groups
from rig import SLOTS, BenchError, Figure, Program, Rig, clean_environment, in_turn, median_of, run_tool

MY_COLUMNS = ("id BIGINT, user_id BIGINT, entry_date DATE, created_at DATETIME, amount DECIMAL(18,4), currency VARCHAR(3), memo LONGTEXT, "
              "flagged BOOLEAN")
# PostgreSQL's rows in forms that LOAD DATA takes.
PG_ROWS = "SELECT id, user_id, entry_date, created_at AT TIME ZONE 'UTC', amount, currency, memo, flagged::int FROM entries"
SMALL_LIMIT = 0.7


# ---------------------------------------------------------------------------------------------------------------------
# MariaDB between the runs


def my_tables(rig: Rig, pattern: str) -> list[str]:
    sql = f"SELECT table_name FROM information_schema.tables WHERE table_schema = 'reports' AND table_name RLIKE '{pattern}'"
    return rig.my.sql(sql).split()


def clear_my_tables(rig: Rig) -> None:
    """Drops every result table, ours and the floors'."""
    names = my_tables(rig, "^(results_|floor_)")
    for i in range(0, len(names), 500):
        rig.my.sql("DROP TABLE " + ", ".join(f"`{name}`" for name in names[i:i + 500]), "reports")
    if my_tables(rig, "^dungbeetle_results$"):
        rig.my.sql("DELETE FROM dungbeetle_results", "reports")


def clear(rig: Rig) -> None:
    rig.clear_tables()
    clear_my_tables(rig)


def check_my_rows(rig: Rig, pattern: str, wanted: int) -> None:
    names = my_tables(rig, pattern)
    got = sum(int(rig.my.sql(f"SELECT count(*) FROM `{name}`", "reports")) for name in names)
    if got != wanted:
        raise BenchError(f"{got} rows in {len(names)} tables {pattern}, {wanted} are wanted")


# ---------------------------------------------------------------------------------------------------------------------
# One million rows


def mariadb(rig: Rig, db: str, *words: str) -> list[str]:
    """The plain client, over TCP as our own connections."""
    return [rig.tool("mariadb"), "--no-defaults", "-h", "127.0.0.1", "-P", str(rig.my.port), "-u", USER, f"-p{PASSWORD}",
            "--default-character-set=utf8mb4", *words, db]


def reader(rig: Rig, source: str, query: str) -> list[str]:
    """Writes the rows, parted by tabs, to its standard output."""
    if source == "my":
        return mariadb(rig, "ledger", "--quick", "-N", "-B", "-e", query)
    if source == "ch":
        url = f"http://{USER}:{PASSWORD}@127.0.0.1:{rig.ch.port}/?database=ledger"
        return [rig.tool("curl"), "-sSf", url, "--data-binary", f"{query} FORMAT TabSeparated"]
    return [rig.tool("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", rig.source_url, "-c", f"COPY ({PG_ROWS}) TO STDOUT"]


def writer(rig: Rig, source: str, results: str, fifo: Path) -> list[str]:
    """Loads what comes through the fifo into floor_0. (The mariadb client writes NULL for NULL; its LOAD DATA takes that for a text,
    which costs no less.)"""
    if results == "my":
        return mariadb(rig, "reports", "--local-infile=1", "-e", f"LOAD DATA LOCAL INFILE '{fifo}' INTO TABLE floor_0")
    null = " WITH (NULL 'NULL')" if source == "my" else ""
    return [rig.tool("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", rig.results_url, "-c", f"\\copy floor_0 FROM '{fifo}'{null}"]


@dataclass
class Way:
    """From one engine to another. limit: of the time, as a multiple of the floor's."""

    source: str
    results: str
    limit: float

    @property
    def name(self) -> str:
        return f"{self.source}-{self.results}"

    @property
    def task(self) -> str:
        return f"bench_{self.source}_{self.results}"

    def check(self, rig: Rig, pattern: str) -> None:
        (check_my_rows if self.results == "my" else check_rows)(rig, pattern, rig.entries)

    def floor(self, rig: Rig) -> float:
        clear(rig)
        if self.results == "my":
            rig.my.sql(f"CREATE TABLE floor_0 ({MY_COLUMNS})", "reports")
        else:
            fresh_tables(rig, 1)
        fifo = rig.directory / "fifo"
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
        seconds = pump(reader(rig, self.source, rig.queries[self.task]), writer(rig, self.source, self.results, fifo), fifo)
        self.check(rig, "^floor_0$")
        clear(rig)
        return seconds

    def ours(self, rig: Rig) -> float:
        clear(rig)
        seconds = one_job(rig, self.task, [], rig.entries)
        self.check(rig, "^results_")
        clear(rig)
        return seconds

    def measure(self, rig: Rig) -> Iterator[Figure]:
        worker = rig.start_worker()
        results = in_turn(rig.runs, {"ours": lambda: self.ours(rig), "floor": lambda: self.floor(rig)})
        peak = peak_rss_mb(worker)
        rig.stop_worker(worker)
        ours, floor = median_of(results["ours"]), median_of(results["floor"])
        yield Figure(self.name, ours, floor, ours / floor, self.limit, "s", runs=results,
                     note=f"{rig.entries} rows; floor: {READERS[self.source]} | {WRITERS[self.results]}")
        yield Figure(f"{self.name}-rss", peak, None, peak, RSS_LIMIT_MB, "MB", "MB", note="peak of the worker of these runs")


READERS = {"my": "mariadb --quick", "pg": "psql", "ch": "curl"}
WRITERS = {"my": "LOAD DATA LOCAL", "pg": "psql"}
WAYS = [Way("my", "my", 1.15), Way("my", "pg", 1.3), Way("pg", "my", 1.2), Way("ch", "pg", 1.2), Way("ch", "my", 1.2)]


def open_fifo(fifo: Path, load: "subprocess.Popen[bytes]") -> BinaryIO:
    """Once the program that is to read it has opened it."""
    while load.poll() is None:
        try:
            number = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.0005)
            continue
        os.set_blocking(number, True)
        return os.fdopen(number, "wb")
    raise BenchError(f"the program that loads ended with {load.returncode}")


def pump(reading: list[str], writing: list[str], fifo: Path) -> float:
    """Seconds that both take."""
    environment = clean_environment()
    began = time.perf_counter()
    with subprocess.Popen(writing, env=environment) as load:
        with open_fifo(fifo, load) as output:
            read = subprocess.run(reading, stdout=output, env=environment, check=False)
    seconds = time.perf_counter() - began
    if read.returncode != 0 or load.returncode != 0:
        raise BenchError(f"{reading[0]}: {read.returncode}, {writing[0]}: {load.returncode}")
    return seconds


# ---------------------------------------------------------------------------------------------------------------------
# small-my


def literal_rows(rig: Rig) -> str:
    """The rows of one job as a SELECT."""
    columns = [column.split()[0] for column in MY_COLUMNS.split(", ")]
    text = ", ', ', ".join(f"ifnull(quote({column}), 'NULL'), ' AS {column}'" for column in columns)
    query = rig.queries["bench_small_my"].replace("?", "1")
    rows = rig.my.sql(f"SELECT concat('SELECT ', {text}) FROM ({query}) AS q", "ledger").splitlines()
    if len(rows) != SMALL_ROWS:
        raise BenchError(f"{len(rows)} rows: {query}")
    return " UNION ALL ".join(rows)


def check_my_tables(rig: Rig, pattern: str, wanted: int) -> None:
    """So many tables, and the last ones hold their rows."""
    names = my_tables(rig, pattern)
    rows = [rig.my.sql(f"SELECT count(*) FROM `{name}`", "reports") for name in names[-3:]]
    if len(names) != wanted or set(rows) != {str(SMALL_ROWS)}:
        raise BenchError(f"{len(names)} tables {pattern}, {wanted} are wanted; rows {rows}")


def small_floor(rig: Rig, statement: Path, jobs: int) -> float:
    """Tables a second."""
    clear_my_tables(rig)
    output = run_tool([rig.bench_dir / "floor_mysql", "127.0.0.1", str(rig.my.port), USER, PASSWORD, "reports", statement, str(SLOTS), str(jobs)])
    check_my_tables(rig, "^floor_[0-9]+$", jobs)
    clear_my_tables(rig)
    return float(output)


def small_ours(rig: Rig, worker: Program, jobs: int) -> float:
    """Jobs a second."""
    clear_my_tables(rig)
    ids, began = post_groups(rig, "bench_small_my", [[str(1 + i * SMALL_ROWS)] for i in range(jobs)])
    seconds = rig.wait_empty(ids, worker) - began
    check_my_tables(rig, "^results_", jobs)
    clear_my_tables(rig)
    return jobs / seconds


def small_my(rig: Rig) -> Iterator[Figure]:
    jobs = 500 if rig.quick else 2000
    statement = rig.directory / "small.sql"
    statement.write_text(f"({MY_COLUMNS}) {literal_rows(rig)}")
    worker = rig.start_worker()
    results = in_turn(rig.runs, {"ours": lambda: small_ours(rig, worker, jobs), "floor": lambda: small_floor(rig, statement, jobs)})
    rig.stop_worker(worker)
    ours, floor = median_of(results["ours"]), median_of(results["floor"])
    yield Figure("small-my", ours, floor, ours / floor, SMALL_LIMIT, "jobs/s", at_most=False, runs=results,
                 note=f"{jobs} jobs of {SMALL_ROWS} rows; floor: CREATE TABLE ... SELECT alone, {SLOTS} clients")
