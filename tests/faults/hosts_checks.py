"""What must be true when a host is back and every job has ended."""

from __future__ import annotations

import re
from typing import Callable

from hosts_jobs import Clients, Job
from hosts_stack import HostsStack
from stack import StackError, wait_until


class Violation(Exception):
    """A promise was broken."""


def check_all(stack: HostsStack, clients: Clients) -> None:
    """All jobs have ended."""
    problems: list[str] = []
    for job in clients.jobs.values():
        problems += check_job(stack, job)
    clients.checked(sum(ends(stack, job) for job in clients.jobs.values()))
    problems += check_counters(stack, clients)
    soon(lambda: left_in_redis(stack), 20, problems)
    soon(lambda: left_in_results(stack), 70, problems)
    soon(lambda: left_in_sources(stack), 70, problems)
    soon(stack.half_open, 70, problems)
    if problems:
        raise Violation("\n".join(problems))


def soon(look: Callable[[], list[str]], seconds: float, problems: list[str]) -> None:
    """What is found must be gone within so many seconds."""
    try:
        wait_until(lambda: not look(), seconds, "nothing left")
    except StackError:
        problems += [f"left after {seconds:.0f} s: {found}" for found in look()]


def history(stack: HostsStack, job: Job) -> str:
    lines = [f"{worker.name}: {line}" for worker in stack.workers for line in worker.log_text().splitlines() if job.id in line]
    state = stack.redis.cli("HGETALL", f"{stack.redis_prefix}job:{job.id}").replace("\n", " ")
    return "\n    ".join([f"{job}", state, *lines])


def check_job(stack: HostsStack, job: Job) -> list[str]:
    """SUCCESS, and the table is that of the current run, with exactly the right rows."""
    state, rows, run = stack.job_fields(job.id, "state", "rows", "run")
    rows_sql = "SELECT count(*), count(DISTINCT n), coalesce(min(n), 0), coalesce(max(n), 0), count(DISTINCT label), coalesce(min(label), '')"
    registry_sql = f"SELECT run, row_count FROM dungbeetle_results WHERE job_id = '{job.id}'"
    try:
        if job.results == "my_reports":
            found = stack.my_results.sql(f"{rows_sql} FROM `results_{job.id}`", "reports").split("\t")
            registered = stack.my_results.sql(registry_sql, "reports").split("\t")
        else:
            found = stack.pg_results.psql("reports", f'{rows_sql} FROM "results_{job.id}"').split("|")
            registered = stack.pg_results.psql("reports", registry_sql).split("|")
    except StackError as error:
        return [f"{error}\n    {history(stack, job)}"]
    n = str(job.rows)
    wanted = [n, n, "1" if job.rows else "0", n, "1" if job.rows else "0", job.label if job.rows else ""]
    good = state == "SUCCESS" and rows == n and found == wanted and registered == [run, n]
    return [] if good else [f"rows {found} instead of {wanted}, registry {registered}\n    {history(stack, job)}"]


def ends(stack: HostsStack, job: Job) -> int:
    """How often it must have ended: once; when its POST was repeated because of an answer that was lost, and the job had ended by then,
    it was a job once more, which the logs tell."""
    if job.posts == 1:
        return 1
    line = re.compile(rf"job finished job={job.id} .* run=(\d+) ")
    runs = {run for worker in stack.workers for run in line.findall(worker.log_text())}
    return max(1, min(len(runs), job.posts))


def check_counters(stack: HostsStack, clients: Clients) -> list[str]:
    """Each job ended once, as Redis counted it: neither more nor fewer than it accepted, and than the clients know of."""
    words = stack.redis.cli("HGETALL", f"{stack.redis_prefix}stats").split("\n")
    counts = dict(zip(words[::2], map(int, words[1::2])))
    accepted, ended = (sum(n for key, n in counts.items() if key.startswith(kind)) for kind in ("accepted|", "finished|"))
    good = ended == clients.ends == accepted - clients.deleted
    return [] if good else [f"{clients.ends} ends of jobs are due, {ended} were counted; {accepted} accepted, {clients.deleted} deleted: {counts}"]


def left_in_redis(stack: HostsStack) -> list[str]:
    p = stack.redis_prefix
    looks = {"stream": ("XLEN", f"{p}queue:default"), "waiting": ("ZCARD", f"{p}waiting:default"),
             "scheduled": ("ZCARD", f"{p}scheduled"), "purges": ("HLEN", f"{p}purges")}
    found = [f"{name}: {n}" for name, look in looks.items() if (n := stack.redis.cli(*look)) != "0"]
    pending = stack.redis.cli("XPENDING", f"{p}queue:default", "workers").split("\n")[0]
    return found + ([f"pending: {pending}"] if pending != "0" else [])


def left_in_results(stack: HostsStack) -> list[str]:
    """Tables without a registry row and rows without a table, after dungbeetle-expire."""
    done = stack.expire()
    found = [] if done.returncode == 0 else [f"dungbeetle-expire: {done.stdout}{done.stderr}"]
    tables = set(stack.pg_results.psql("reports", "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace").split())
    rows = set(stack.pg_results.psql("reports", "SELECT table_name FROM dungbeetle_results WHERE table_name IS NOT NULL").split())
    found += compare("reports", tables, rows)
    tables = set(stack.my_results.sql("SHOW TABLES", "reports").split())
    rows = set(stack.my_results.sql("SELECT table_name FROM dungbeetle_results WHERE table_name IS NOT NULL", "reports").split())
    return found + compare("my_reports", tables, rows)


def compare(name: str, tables: set[str], rows: set[str]) -> list[str]:
    own = {table for table in tables if re.fullmatch(r"dungbeetle_(results|recovered|marker|template_.*)", table)}
    found = [f"{name}: {table} without a registry row" for table in tables - own - rows]
    return found + [f"{name}: a registry row without {table}" for table in rows - tables]


def left_in_sources(stack: HostsStack) -> list[str]:
    found = [f"postgres: {line}" for line in stack.pg_source.psql(
        "postgres", "SELECT application_name, state, query FROM pg_stat_activity WHERE datname = 'ledger' AND state <> 'idle'").splitlines()]
    for server in (stack.my, stack.my_results):
        found += [f"mysql: {line}" for line in server.sql(
            "SELECT id, host, info FROM information_schema.processlist WHERE user = 'dungbeetle' AND command <> 'Sleep'").splitlines()]
    running = stack.ch.query("SELECT query_id, query FROM system.processes WHERE query_id LIKE 'dungbeetle-%'")
    return found + [f"clickhouse: {line}" for line in running.splitlines()]
