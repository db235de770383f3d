"""The matrix, faults: what is cancelled, runs out of time, or loses a server; and results that are replaced while they are read. On
servers of its own, of which each engine has one as a source and another one for results."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from matrix_support import STREAM_ROWS, VERSION_ROWS, Client, MatrixStack, Pair, kill
from support import SLOW, uid, wait_until


@pytest.fixture(scope="module")
def matrix(make_module_stack) -> MatrixStack:
    return make_module_stack(kind=MatrixStack, split=True)


def await_running(pair: Pair, marker: str, jobs: int = 1) -> None:
    wait_until(lambda: pair.source.running(marker) >= jobs, 10 * SLOW, f"{jobs} queries {marker} in the source")


def await_loading(pair: Pair) -> None:
    wait_until(pair.results.loading, 10 * SLOW, "rows on their way to the results database")


def check_stream(pair: Pair, job_id: str) -> None:
    job = pair.wait(job_id)
    assert (job["state"], job["count"]) == ("SUCCESS", STREAM_ROWS + 1), job
    assert pair.results.count(job_id) == STREAM_ROWS + 1
    assert pair.results.sum(job_id, "n") == STREAM_ROWS * (STREAM_ROWS + 1) // 2


def check_strays(pair: Pair) -> None:
    """After dungbeetle-expire there are no tables but results."""
    done = pair.stack.expire()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [name for name in pair.results.tables() if not name.startswith("results_")]


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.group("cancel")
def test_a_cancel_in_mid_stream_ends_the_query_within_a_second(pair):
    job_id = pair.submit("endless")
    await_running(pair, "matrix_endless")
    await_loading(pair)
    assert pair.stack.delete(f"/jobs/{job_id}").status == 200
    pair.await_gone("matrix_endless", within=1.0)
    pair.assert_nothing(job_id)
    pair.run("version", "0")  # the worker goes on


def busy(program) -> int:
    """Its processor time, in ticks of 10 ms."""
    fields = Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.group("cancel")
def test_a_cancel_ends_the_query_although_the_results_server_hangs(pair):
    """It takes no more rows, and hears of no cancel: of the source's query nothing is left, the rest follows."""
    job_id = pair.submit("endless")
    await_running(pair, "matrix_endless")
    await_loading(pair)
    (worker,) = pair.stack.workers
    with pair.results.frozen():
        looks = [-1]
        wait_until(lambda: looks.append(busy(worker)) or looks[-50:] == 50 * looks[-1:], 20 * SLOW, "a worker that waits")
        assert pair.source.running("matrix_endless") == 1
        assert pair.stack.delete(f"/jobs/{job_id}").status == 200
        # A cancel of a query in MariaDB is a statement on a new connection, which is given up after five seconds.
        pair.await_gone("matrix_endless", within=1.0 if pair.results.server.ENGINE == "postgres" else 8.0)
    pair.assert_nothing(job_id)
    pair.run("version", "0")  # the worker goes on


@pytest.mark.group("cancel")
def test_a_cancel_ends_a_query_that_has_no_row_yet(pair):
    job_id = pair.submit("thinking")
    await_running(pair, "matrix_thinking")
    assert pair.stack.delete(f"/jobs/{job_id}").status == 200
    pair.await_gone("matrix_thinking", within=1.0)
    pair.assert_nothing(job_id)
    pair.run("version", "0")


@pytest.mark.group("timeout")
@pytest.mark.parametrize("query", ["endless", "thinking"])
def test_a_time_limit_ends_the_query(pair, query):
    error = pair.fail(query, timeout=1)
    assert "time limit" in error, error
    pair.await_gone(f"matrix_{query}", within=3.0)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.group("killed source")
def test_a_source_killed_in_mid_stream_is_never_a_short_result(pair):
    """Without retries: FAILURE and no table. With them: all rows, once the source is back."""
    frail, sturdy = pair.submit("stream"), pair.submit("stream", retries=5)
    await_running(pair, "matrix_stream", 2)
    await_loading(pair)
    kill(pair.source.server)
    pair.source.server.start()
    job = pair.wait(frail)
    assert job["state"] == "FAILURE", job
    pair.assert_nothing(frail)
    check_stream(pair, sturdy)
    check_strays(pair)


@pytest.mark.group("killed results server")
def test_a_results_server_killed_in_mid_load_shows_nothing_and_then_the_right_result(pair):
    """It costs the job no retry."""
    job_id = pair.submit("stream")
    await_loading(pair)
    kill(pair.results.server)
    (worker,) = pair.stack.workers
    worker.pause()
    pair.results.server.start()
    assert not pair.results.has_table(job_id)
    worker.resume()
    check_stream(pair, job_id)
    check_strays(pair)


# ---------------------------------------------------------------------------------------------------------------------


class Reader(threading.Thread):
    """Looks at a result all the time; what it saw is in `seen`."""

    def __init__(self, client: Client, query: str) -> None:
        super().__init__(daemon=True)
        self.client, self.query = client, query
        self.seen: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self.seen.add(self.client.ask(self.query))

    def end(self) -> set[str]:
        self.over.set()
        self.join(10)
        self.client.close()
        return self.seen


def looks(pair: Pair, job_id: str) -> str:
    return f"SELECT count(*), count(DISTINCT label), min(label) FROM {pair.results.quoted('results_' + job_id)}"


def seen_of(version: int) -> str:
    return f"{VERSION_ROWS[version]}\t1\tversion {version}"


@pytest.mark.group("replacement")
def test_readers_see_the_whole_old_result_or_the_whole_new_one(pair):
    job_id = pair.run("version", "0", job_id=uid("m"))
    readers = [Reader(pair.results.client(), looks(pair, job_id)) for _ in range(2)]
    for reader in readers:
        reader.start()
        wait_until(lambda r=reader: seen_of(0) in r.seen, 10 * SLOW, "a look at the old result")
    for version in (1, 0, 1, 0, 1):
        pair.run("version", str(version), job_id=job_id)
    for reader in readers:
        wait_until(lambda r=reader: seen_of(1) in r.seen, 10 * SLOW, "a look at the new result")
        assert reader.end() == {seen_of(0), seen_of(1)}


@pytest.mark.group("replacement")
def test_a_transaction_that_reads_a_result_keeps_it_until_its_end(pair):
    job_id = pair.run("version", "0", job_id=uid("m"))
    client = pair.results.client()
    assert client.ask("BEGIN;" + looks(pair, job_id)) == seen_of(0)
    pair.submit("version", "1", job_id=job_id)
    wait_until(lambda: pair.results.waiting(job_id), 10 * SLOW, "a publication that waits for the reader")
    assert client.ask(looks(pair, job_id)) == seen_of(0)
    client.tell("COMMIT")
    assert pair.wait(job_id)["state"] == "SUCCESS"
    assert client.ask(looks(pair, job_id)) == seen_of(1)
    client.close()
