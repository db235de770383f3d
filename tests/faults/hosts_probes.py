"""How long things may take while a host is away, and just after: each promise of its own, on the stack of the several-hosts test."""

from __future__ import annotations

import time
from typing import Callable

from hosts_checks import Violation
from hosts_jobs import Clients, Job
from hosts_stack import HostsStack
from stack import StackError, wait_until

DEAD_PEER = 60.0  # seconds within which a silent peer is given up (README, "Crashes"); 30, and what the kernel's timers add
SLACK = 5.0  # for a busy machine
CANCEL = 1.0  # a cancel's due time


def due(what: str, began: float, seconds: float) -> str:
    took = time.monotonic() - began
    if took > seconds + SLACK:
        raise Violation(f"{what} took {took:.1f} s, more than {seconds:.0f} s")
    return f"{what} took {took:.1f} s (at most {seconds:.0f} s)"


def long_job(stack: HostsStack, clients: Clients, kind: str, seconds: int = 120) -> Job:
    """A job whose query runs now."""
    job = clients.submit(kind, rows=10, seconds=seconds)
    wait_until(lambda: stack.job_fields(job.id, "state") == ["STARTED"], 30, f"a run of {job}", stack.programs())
    return job


def delete(stack: HostsStack, clients: Clients, job: Job) -> None:
    status, answer = clients.insist("DELETE", f"/jobs/{job.id}")
    if status != 200:
        raise StackError(f"DELETE of {job}: {status} {answer}")
    clients.forget(job)


def my_queries(stack: HostsStack) -> int:
    return int(stack.my.sql("SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%hosts_my_slow%' AND user = 'dungbeetle'"))


def cancel_elsewhere(stack: HostsStack, clients: Clients) -> str:
    """While a source's host is away, queries in other sources are cancelled in time."""
    other = stack.workers[1]
    other.stop(20)  # all of them are to be with one worker
    gone = [long_job(stack, clients, "hosts_slow") for _ in range(4)]
    here = [long_job(stack, clients, "hosts_my_slow") for _ in range(2)]
    wait_until(lambda: my_queries(stack) == 2, 30, "two queries in MariaDB")
    stack.network.cut("source", "silent")
    try:
        for job in gone:
            delete(stack, clients, job)
        time.sleep(0.5)
        began = time.monotonic()
        for job in here:
            delete(stack, clients, job)
        wait_until(lambda: my_queries(stack) == 0, 100, "the end of the deleted queries")
        return due("a cancel in another source", began, CANCEL)
    finally:
        stack.network.join("source")
        other.start()


def slots_are_free_again(stack: HostsStack, clients: Clients) -> str:
    """Slots whose source's host is away, and whose jobs were deleted, do other work within the time of a dead peer."""
    jobs = [long_job(stack, clients, "hosts_slow") for _ in range(12)]  # all slots
    stack.network.cut("source", "silent")
    try:
        began = time.monotonic()
        for job in jobs:
            delete(stack, clients, job)
        clients.wait(clients.submit("hosts_my_quick"), 200)
        return due("the return of the slots of a source that is away", began, DEAD_PEER)
    finally:
        stack.network.join("source")


def cancel_after_redis(stack: HostsStack, clients: Clients) -> str:
    """When the host of Redis was away and has forgotten its connections, cancels are soon heard in time again."""
    stack.network.cut("redis", "silent")
    stack.forget("redis")
    time.sleep(1)
    stack.network.join("redis")
    time.sleep(30 + SLACK)
    job = long_job(stack, clients, "hosts_my_slow")
    wait_until(lambda: my_queries(stack) == 1, 30, "a query in MariaDB")
    heard = int(stack.redis.cli("PUBSUB", "NUMSUB", f"{stack.redis_prefix}cancel").split("\n")[1])
    if heard != len(stack.workers):
        raise Violation(f"{heard} of {len(stack.workers)} workers hear of cancels 35 s after the return of Redis")
    began = time.monotonic()
    delete(stack, clients, job)
    wait_until(lambda: my_queries(stack) == 0, 60, "the end of the deleted query")
    return due("a cancel after the return of Redis", began, CANCEL)


def health_without_redis(stack: HostsStack, clients: Clients) -> str:
    """GET /health says 503 in the time that redis.timeout and redis.connect_timeout allow, again and again."""
    stack.network.cut("redis", "silent")
    try:
        for _ in range(3):
            began = time.monotonic()
            status, answer, _ = stack.request("GET", "/health", timeout=60)
            if status != 503:
                raise Violation(f"GET /health without Redis: {status} {answer}")
            text = due("a 503 while Redis is away", began, 5.0)
        return text
    finally:
        stack.network.join("redis")


def time_limit(stack: HostsStack, clients: Clients) -> str:
    """A time limit holds while the source's host is away, to the time of a dead peer; the job then ends by itself."""
    job = clients.submit("hosts_slow", rows=10, seconds=2, timeout=4)
    wait_until(lambda: stack.job_fields(job.id, "state") == ["STARTED"], 30, f"a run of {job}", stack.programs())
    stack.network.cut("source", "silent")
    began = time.monotonic()
    try:
        wait_until(lambda: stack.job_fields(job.id, "state") != ["STARTED"], 200, f"an end of the run of {job}")
        return due("a run with a time limit of 4 s in a source that is away", began, 4 + DEAD_PEER)
    finally:
        stack.network.join("source")
        clients.wait(job, 90)


def results_elsewhere(stack: HostsStack, clients: Clients) -> str:
    """While the results databases' host is away a stop of the worker is not longer than the drain says."""
    jobs = [clients.submit("hosts_trickle", rows=1000, seconds=20) for _ in range(4)]
    wait_until(lambda: all(stack.job_fields(job.id, "state") == ["STARTED"] for job in jobs), 30, "runs", stack.programs())
    worker = stack.workers[1]
    stack.network.cut("results", "silent")
    try:
        began = time.monotonic()
        worker.terminate()
        time.sleep(1)
        worker.terminate()  # cuts the draining short
        worker.wait(100)
        return due("a stop of a worker whose results databases are away", began, 10.0)
    finally:
        stack.network.join("results")
        worker.start()
        for job in jobs:
            clients.wait(job, 120)


PROBES: dict[str, Callable[[HostsStack, Clients], str]] = {
    probe.__name__.replace("_", "-"): probe
    for probe in (cancel_elsewhere, slots_are_free_again, cancel_after_redis, health_without_redis, time_limit, results_elsewhere)}
