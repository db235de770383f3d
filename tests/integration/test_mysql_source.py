"""MariaDB as a source of results that PostgreSQL keeps."""

from __future__ import annotations

import datetime as dt
import decimal
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from support import BIN_DIR, HERE, QUERIES, ROOT, SLOW, to_yaml, wait_until

from stack import MariaDB

QUERIES_MYSQL = HERE / "queries_mysql"
D = decimal.Decimal
UTC = dt.timezone.utc

KINDS = """
SET time_zone = '+00:00';
CREATE TABLE kinds (id INT PRIMARY KEY, i8 TINYINT, flag BOOLEAN, u8 TINYINT UNSIGNED, i16 SMALLINT, u16 SMALLINT UNSIGNED,
    i24 MEDIUMINT, u24 MEDIUMINT UNSIGNED, i32 INT, u32 INT UNSIGNED, i64 BIGINT, u64 BIGINT UNSIGNED, filled INT(7) ZEROFILL,
    amount DECIMAL(18,4), huge DECIMAL(65,30), small DECIMAL(5,5) UNSIGNED, f FLOAT, d DOUBLE, y YEAR, da DATE, t0 TIME, t6 TIME(6),
    d0 DATETIME, d3 DATETIME(3), d6 DATETIME(6), ts TIMESTAMP(6) NULL, c CHAR(10), v VARCHAR(20), l1 VARCHAR(20) CHARACTER SET latin1,
    tx TEXT, bi BINARY(4), vb VARBINARY(300), lb LONGBLOB, bits BIT(10), e ENUM('small', 'größe'), s SET('x', 'y'), j JSON, u UUID,
    ip4 INET4, ip6 INET6);
INSERT INTO kinds VALUES
    (1, -128, 1, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, 42,
    -99999999999999.9999, 12345678901234567890123456789012345.123456789012345678901234567890, 0.99999, 0.1, 0.1, 1901, '0001-01-01',
    '-838:59:59', '-838:59:59', '1000-01-01 00:00:00', '2024-02-29 23:59:59.999', '9999-12-31 23:59:59.999999',
    '1970-01-01 00:00:01', 'pad   ', 'emoji 😀 \\\\ \\t', 'é', '', UNHEX('00FF0A5C'),
    UNHEX(CONCAT('00', '0102030405060708090A0B0C0D0E0F', '5C7FFF')), 'x', b'1000000001', 'größe', 'x,y', '{"a": [1, 2.50]}',
    '123e4567-e89b-12d3-a456-426614174000', '192.0.2.1', '2001:db8::ff'),
    (2, 127, 5, 0, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0, 1234567,
    99999999999999.9999, -0.000000000000000000000000000001, 0, 16777217, 1.7976931348623157e308, 2155, '9999-12-31',
    '838:59:59', '00:00:00.000001', '2024-01-01 12:00:00', '2024-01-01 00:00:00', '2024-01-01 00:00:00.000001',
    '2038-01-19 03:14:07.999999', 'ten chars!', REPEAT('é', 20), REPEAT('ü', 20), REPEAT('t', 65535), 'ab', '', '', b'0', 'small', '',
    '"x"', '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::'),
    (3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1e-30, 5e-324, 0, '2024-06-30', '00:00:00', '12:34:56.5', NULL, NULL, NULL,
    '2024-01-01 00:00:00.5', '', '', '', NULL, '', NULL, NULL, b'1111111111', NULL, NULL, '[]', NULL, NULL, '::ffff:192.0.2.1'),
    (4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3.4028234663852886e38, 123456.789e-10, 2000, '2024-06-30', '00:00:00', '00:00:00', NULL,
    NULL, NULL, NULL, '', '', '', NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kinds (id) VALUES (5);
SET sql_mode = '';
INSERT INTO kinds (id, da, d0, d6, ts) VALUES (6, '0000-00-00', '2024-00-00', '0000-00-00', '0000-00-00');
CREATE TABLE finds (id INT, big BIGINT, amount DECIMAL(20,2), name VARCHAR(50), day DATE);
INSERT INTO finds VALUES (1, 9007199254740993, 0.10, 'a''b', '2024-01-01'), (2, 9007199254740992, 0.10, 'a''b', '2024-01-01'),
    (3, 9007199254740993, 0.11, 'a''b', '2024-01-01');
CREATE TABLE changing (a INT); INSERT INTO changing VALUES (1);
CREATE PROCEDURE one_result() SELECT 1 AS a, 'x' AS b;
CREATE PROCEDURE one_result_of(n INT) SELECT n AS a;
DELIMITER //
CREATE PROCEDURE two_results() BEGIN SELECT 1 AS a; SELECT 2 AS b, 3 AS c; END //
CREATE PROCEDURE two_results_of(n INT) BEGIN SELECT n AS a; SELECT 2 AS b, 3 AS c; END //
"""

TYPES = {
    "id": "integer", "i8": "smallint", "flag": "smallint", "u8": "smallint", "i16": "smallint", "u16": "integer", "i24": "integer",
    "u24": "integer", "i32": "integer", "u32": "bigint", "i64": "bigint", "u64": "numeric(20,0)", "filled": "bigint",
    "amount": "numeric(18,4)", "huge": "numeric(65,30)", "small": "numeric(5,5)", "f": "real", "d": "double precision",
    "y": "smallint", "da": "date", "t0": "interval(0)", "t6": "interval(6)", "d0": "timestamp(0) without time zone",
    "d3": "timestamp(3) without time zone", "d6": "timestamp(6) without time zone", "ts": "timestamp(6) with time zone",
    "c": "character varying(10)", "v": "character varying(20)", "l1": "character varying(20)", "tx": "text", "bi": "bytea",
    "vb": "bytea", "lb": "bytea", "bits": "bit(10)", "e": "text", "s": "text", "j": "json", "u": "uuid", "ip4": "inet", "ip6": "inet",
}


def certificates(directory: Path) -> None:
    """An authority, a server's certificate for 127.0.0.1 that it has signed, and another authority."""

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.pem")
    for path in directory.iterdir():
        path.chmod(0o644)


@pytest.fixture(scope="module")
def place():
    directory = Path(tempfile.mkdtemp(prefix="dbt-my-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def maria(place):
    certificates(place)
    made = MariaDB(place / "maria", performance_schema=1, bind_address="*", ssl_ca=place / "ca.pem", ssl_cert=place / "server.pem",
                   ssl_key=place / "server.key", innodb_flush_log_at_trx_commit=0)
    made.start()
    try:
        made.createdb("shop")
        made.sql(KINDS, "shop")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def plain(place):
    """A server without TLS."""
    made = MariaDB(place / "plain", skip_ssl=1, innodb_buffer_pool_size="16M")
    made.start()
    try:
        made.createdb("shop")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def silent():
    """A port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def own(make_module_stack, stack, maria, plain, silent, place):
    dsn, plain_dsn = maria.dsn("shop"), plain.dsn("shop")
    verified = f"tls=true&ssl_ca={place}/ca.pem"
    dsns = {
        "maria": dsn + "?parseTime=true&charset=utf8mb4",
        "secured": f"{dsn}?{verified}",
        "by_ca": f"{dsn}?ssl_ca={place}/ca.pem",
        "unverified": f"{dsn}?tls=skip-verify",
        "preferring": f"{dsn}?tls=preferred",
        "by_url": f"mysql://dungbeetle:s3cret@localhost:{maria.port}/shop?{verified}",
        "by_socket": maria.socket_dsn("shop"),
        "plain_preferring": f"{plain_dsn}?tls=preferred",
        "distrusted": f"{dsn}?tls=true&ssl_ca={place}/other.pem",
        "misnamed": dsn.replace("127.0.0.1", "127.0.0.2") + f"?{verified}",
        "plain_unverified": f"{plain_dsn}?tls=skip-verify",
        "plain_verified": f"{plain_dsn}?{verified}",
        "unknown_user": maria.dsn("shop", "nobody"),
        "unknown_db": maria.dsn("nothing"),
        "silent": f"dungbeetle:s3cret@tcp(127.0.0.1:{silent})/shop",
    }
    return make_module_stack(
        pg=stack.pg_source, queues={"default": 4, "one": 1}, sql_directories=[QUERIES, QUERIES_MYSQL],
        config={"sources": {name: {"type": "mysql", "dsn": text, "connect_timeout": "1s"} for name, text in dsns.items()}})


def processes(maria, like="%"):
    """(id, seconds, text) of the running queries whose text is like that."""
    text = maria.sql("SELECT ID, TIME_MS, INFO FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep' AND ID <> CONNECTION_ID()"
                     f" AND INFO LIKE '{like}'")
    return [line.split("\t") for line in text.splitlines()]


def connections(maria):
    return int(maria.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'dungbeetle'"))


def await_running(maria, like):
    return wait_until(lambda: processes(maria, like), 15 * SLOW, f"a query like {like}")


def assert_gone(maria, like, within=1.0):
    """No such query runs any more, soon."""
    began = time.monotonic()
    wait_until(lambda: not processes(maria, like), 15 * SLOW, f"no query like {like}")
    took = time.monotonic() - began
    assert took < within * SLOW, took


# --- values

ONE = {
    "id": 1, "i8": -128, "flag": 1, "u8": 255, "i16": -32768, "u16": 65535, "i24": -8388608, "u24": 16777215, "i32": -2147483648,
    "u32": 4294967295, "i64": -9223372036854775808, "u64": D(18446744073709551615), "filled": 42, "amount": D("-99999999999999.9999"),
    "huge": D("12345678901234567890123456789012345.123456789012345678901234567890"), "small": D("0.99999"), "f": 0.1, "d": 0.1,
    "y": 1901, "da": dt.date(1, 1, 1), "t0": -dt.timedelta(hours=838, minutes=59, seconds=59),
    "t6": -dt.timedelta(hours=838, minutes=59, seconds=59), "d0": dt.datetime(1000, 1, 1),
    "d3": dt.datetime(2024, 2, 29, 23, 59, 59, 999000), "d6": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "ts": dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "c": "pad", "v": "emoji 😀 \\ \t", "l1": "é", "tx": "",
    "bi": bytes.fromhex("00FF0A5C"), "vb": bytes(range(16)) + b"\\\x7f\xff", "lb": b"x", "bits": "1000000001", "e": "größe",
    "s": "x,y", "j": {"a": [1, 2.5]}, "u": uuid.UUID("123e4567-e89b-12d3-a456-426614174000"), "ip4": "192.0.2.1", "ip6": "2001:db8::ff",
}
TWO = {
    "id": 2, "i8": 127, "flag": 5, "u8": 0, "i16": 32767, "u16": 0, "i24": 8388607, "u24": 0, "i32": 2147483647, "u32": 0,
    "i64": 9223372036854775807, "u64": D(0), "filled": 1234567, "amount": D("99999999999999.9999"),
    "huge": D("-0.000000000000000000000000000001"), "small": D(0), "f": 16777216.0, "d": 1.7976931348623157e308, "y": 2155,
    "da": dt.date(9999, 12, 31), "t0": dt.timedelta(hours=838, minutes=59, seconds=59), "t6": dt.timedelta(microseconds=1),
    "d0": dt.datetime(2024, 1, 1, 12), "d3": dt.datetime(2024, 1, 1), "d6": dt.datetime(2024, 1, 1, 0, 0, 0, 1),
    "ts": dt.datetime(2038, 1, 19, 3, 14, 7, 999999, tzinfo=UTC), "c": "ten chars!", "v": "é" * 20, "l1": "ü" * 20, "tx": "t" * 65535,
    "bi": b"ab\0\0", "vb": b"", "lb": b"", "bits": "0000000000", "e": "small", "s": "", "j": "x", "u": uuid.UUID(int=0),
    "ip4": "0.0.0.0", "ip6": "::",
}


def as_dicts(own, job_id):
    names = [name for name, _ in own.columns(job_id)]
    rows = [dict(zip(names, row)) for row in own.rows(job_id)]
    for row in rows:
        for name in ("ip4", "ip6"):
            row[name] = None if row[name] is None else str(row[name])
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("task", ["my_kinds", "my_kinds_raw"])
def test_every_type_arrives_exactly(own, task):
    """Each type's extremes, prepared and raw; only a raw FLOAT is what the server prints."""
    job_id = own.succeed(task)
    assert dict(own.columns(job_id)) == TYPES
    rows = as_dicts(own, job_id)
    assert len(rows) == 6
    for want in (ONE, TWO):
        got = rows[want["id"]]
        for name, value in want.items():
            if name == "f":
                exact = pytest.approx(value, rel=1e-5 if task == "my_kinds_raw" else 1e-7)
                assert got[name] == exact, name
            else:
                assert (got[name], type(got[name])) == (value, type(value)), name
    assert {value for name, value in rows[5].items() if name != "id"} == {None}
    assert (rows[3]["d"], rows[4]["d"]) == (5e-324, 123456.789e-10)
    assert rows[3]["t6"] == dt.timedelta(hours=12, minutes=34, seconds=56, microseconds=500000)
    assert rows[3]["ip6"] == "::ffff:192.0.2.1" or rows[3]["ip6"] == "::ffff:c000:201"


def test_floats_arrive_bit_for_bit(own):
    """PostgreSQL's real holds the very bits: 0.1, the largest integer of 24 bits, a tiny and the largest float."""
    job_id = own.succeed("my_kinds")
    bits = own.query(f'SELECT float4send(f) FROM "results_{job_id}" WHERE id < 5 ORDER BY id')
    assert [row[0].hex() for row in bits] == ["3dcccccd", "4b800000", "8da24260", "7f7fffff"]


def test_zero_dates_become_null_in_postgresql(own):
    """0000-00-00 and 2024-00-00 are no days of PostgreSQL's calendar."""
    row = as_dicts(own, own.succeed("my_kinds"))[6]
    assert (row["da"], row["d0"], row["d6"], row["ts"]) == (None, None, None, None)


def test_no_rows_still_make_a_table(own):
    job_id = own.succeed("my_none")
    assert own.columns(job_id) == [("one", "integer")]
    assert own.rows(job_id) == []


def test_many_rows_arrive_all_and_twice(own):
    """200,000 rows, also when the prepared statement is used again."""
    for _ in range(2):
        job_id = own.succeed("my_wide", queue="one")
        assert own.count(job_id) == 200_000
        assert own.query(f'SELECT sum(id), max(name), sum(quarter) FROM "results_{job_id}"') == [
            (20000100000, "row 99999", D("5000025000.0000"))]


@pytest.mark.parametrize("size", [250, 251, 65535, 65536, 1_000_000])
def test_long_values_arrive_whole(own, size):
    """Texts and bytes on both sides of the protocol's lengths, up to a megabyte, and the row after them."""
    rows = own.rows(own.succeed("my_long", size, size // 2))
    assert rows == [(1, "é" * size, b"\x00\xff" * (size // 2)), (2, "short", b"short")]


# --- arguments

@pytest.mark.parametrize("text", ["'; DROP TABLE kinds; -- ", "\\' OR 1=1 #", "*/ SELECT 1 /*", "%s ? $1 \\0 \n", "😀" * 50, ""])
def test_arguments_come_back_as_data(own, text):
    """What would be SQL if it were pasted is a text."""
    assert own.rows(own.succeed("my_echo", text, None, text)) == [(text, None, 0)]
    assert own.rows(own.succeed("my_echo", text, text, None)) == [(text, text, 1)]


def test_arguments_find_numbers_texts_and_dates(own):
    """An argument is compared as a constant of the column's type would be, also beyond 2^53; LIMIT takes one."""
    assert own.rows(own.succeed("my_find", 9007199254740993, 0.1, "a'b", "2024-06-01", 5)) == [(1,)]
    assert own.rows(own.succeed("my_find", 9007199254740992, "0.10", "a'b", "2024-06-01", 5)) == [(2,)]
    assert own.rows(own.succeed("my_find", 9007199254740993, 0.1, "a'b", "2024-06-01", 0)) == []


def test_wrong_number_of_arguments_is_refused(own):
    assert "takes 3 arguments, got 1" in own.fail("my_echo", "1")["error"]


# --- sessions and statements

def test_session_is_in_utc_strict_read_only_and_signed(own, maria):
    """The session's settings; who runs is in the session's variable, and the connection is kept for the next job."""
    first, second = (own.succeed("my_session", queue="one") for _ in range(2))
    (a,), (b,) = own.rows(first), own.rows(second)
    assert a[0] == b[0]
    assert a[1:4] == (1, "+00:00", D(0))
    assert (first in a[4], second in b[4]) == (True, True)
    assert a[5:] == ("utf8mb4", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION", 3600)


def test_processlist_shows_the_task(own, maria):
    job_id = own.submit("my_sleep", 30)
    (row,) = await_running(maria, "%SLEEP%")
    assert row[2].startswith("/* dungbeetle: my_sleep */ ")
    user_variable = maria.sql("SELECT VARIABLE_VALUE FROM performance_schema.user_variables_by_thread v JOIN performance_schema.threads t"
                              f" USING (THREAD_ID) WHERE VARIABLE_NAME = 'dungbeetle' AND PROCESSLIST_ID = {row[0]}")
    assert user_variable == f"{job_id} my_sleep"
    own.delete(f"/jobs/{job_id}?purge=true")
    assert_gone(maria, "%SLEEP%")


def test_check_prepares_tasks(own, tmp_path):
    """What the server says of a task at --check, before any job."""
    (tmp_path / "tasks.sql").write_text("-- name: fine\n-- db: maria\nSELECT ? AS a;\n-- name: wrong\n-- db: maria\nSELECT nothing_of_the_kind;\n"
                                        "-- name: mute\n-- db: maria\nDO 1;\n")
    base = {key: value for key, value in own.config.items() if key != "worker"}
    base["sources"] = {"maria": own.config["sources"]["maria"]}
    (tmp_path / "config.yml").write_text(to_yaml({**base, "sql_directories": [str(tmp_path)]}))
    done = subprocess.run([ROOT / BIN_DIR / "dungbeetle-worker", "--check", "--config", tmp_path / "config.yml"],
                          capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert re.search(r"tasks.sql:4: task wrong on source maria: .*nothing_of_the_kind", output), output
    assert re.search(r"tasks.sql:7: task mute on source maria: .*returns no columns", output), output
    assert "task fine" not in output, output


def test_altered_table_is_prepared_anew(own, maria):
    """A statement that is kept gives the table's columns as they are now."""
    assert own.rows(own.succeed("my_changing", queue="one")) == [(1,)]
    maria.sql("ALTER TABLE changing ADD b VARCHAR(10) DEFAULT 'new'", "shop")
    job_id = own.succeed("my_changing", queue="one")
    assert (own.columns(job_id), own.rows(job_id)) == ([("a", "integer"), ("b", "character varying(10)")], [(1, "new")])
    maria.sql("ALTER TABLE changing MODIFY a DECIMAL(5,1)", "shop")
    job_id = own.succeed("my_changing", queue="one")
    assert (own.columns(job_id)[0], own.rows(job_id)) == (("a", "numeric(5,1)"), [(D("1.0"), "new")])


def test_killed_connection_is_made_anew(own, maria):
    """An idle connection that the server has closed costs no job."""
    ((connection, *_),) = own.rows(own.succeed("my_session", queue="one"))
    maria.sql(f"KILL {connection}")
    ((another, *_),) = own.rows(own.succeed("my_session", queue="one"))
    assert another != connection


def test_procedures_give_their_first_result(own):
    """CALL, raw and prepared, again and again; a second result is an error, after which the connection works."""
    for _ in range(2):
        assert own.rows(own.succeed("my_call", queue="one")) == [(1, "x")]
        assert own.rows(own.succeed("my_call_prepared", 7, queue="one")) == [(7,)]
        for task, args in (("my_call_two", []), ("my_call_two_prepared", [7])):
            assert "more than one result" in own.fail(task, *args, queue="one")["error"]


def test_errors_name_the_cause(own):
    """The server's words and number; writes are refused; what returns nothing is no result."""
    assert "nothing_of_the_kind" in own.fail("my_broken")["error"]
    assert "(error 1792)" in own.fail("my_write")["error"]
    assert "returns no columns" in own.fail("my_nothing")["error"]


def test_late_error_is_a_failure(own):
    """An error after the first rows: nothing is published, and the connection serves the next job."""
    ((connection, *_),) = own.rows(own.succeed("my_session", queue="one"))
    job = own.fail("my_late", queue="one")
    assert "(error 1242)" in job["error"], job
    assert not own.has_table(job["job_id"])
    ((another, *_),) = own.rows(own.succeed("my_session", queue="one"))
    assert another == connection


# --- stopping

def test_cancel_stops_the_query_in_mid_stream(own, maria):
    """DELETE while rows flow: the query is gone from the server within a second, and nothing is published."""
    job_id = own.submit("my_drip")
    await_running(maria, "%SLEEP(0.002)%")
    time.sleep(0.5)  # rows flow
    own.delete(f"/jobs/{job_id}?purge=true")
    assert_gone(maria, "%SLEEP(0.002)%")
    assert not own.has_table(job_id)


def test_cancel_stops_a_query_before_its_first_row(own, maria):
    job_id = own.submit("my_sleep", 60)
    await_running(maria, "%SLEEP%")
    own.delete(f"/jobs/{job_id}?purge=true")
    assert_gone(maria, "%SLEEP%")
    assert len(own.rows(own.succeed("my_sleep", 0))) == 2


def test_late_cancel_does_not_hit_the_next_job(own):
    """One slot, pairs of jobs, the first of which is deleted as it may be ending: the second one always has its result."""
    for pause in range(12):
        first, second = (own.submit("my_sleep", 0.02, queue="one") for _ in range(2))
        time.sleep(pause * 0.006)
        own.delete(f"/jobs/{first}?purge=true")
        assert own.wait(second)["state"] == "SUCCESS"
        assert [slept for slept, _ in own.rows(second)] == [0, 0]


def test_query_that_is_killed_by_an_administrator_is_tried_again(own, maria):
    job_id = own.submit("my_sleep", 1, retries=1)
    (row,) = await_running(maria, "%SLEEP%")
    maria.sql(f"KILL QUERY {row[0]}")
    job = own.wait(job_id)
    assert (job["state"], own.count(job_id)) == ("SUCCESS", 2), job


def test_time_limit_ends_the_query(own, maria):
    began = time.monotonic()
    job = own.fail("my_sleep_limited", 30)
    assert time.monotonic() - began < 5 * SLOW
    assert "max_statement_time" in job["error"] or "time limit" in job["error"], job
    assert not processes(maria, "%SLEEP%")


def test_cap_of_rows_ends_the_query(make_stack, stack, own, maria):
    """What the worker itself gives up on stops on the server, too."""
    capped = make_stack(pg=stack.pg_source, queues={"default": 1}, sql_directories=[QUERIES, QUERIES_MYSQL], config={
        "jobs": {"max_rows": 10},
        "sources": {name: {"type": "mysql", "dsn": maria.dsn("shop")} for name in own.config["sources"] if name not in stack.config["sources"]}})
    assert "max_rows" in capped.fail("my_drip")["error"]
    assert_gone(maria, "%SLEEP(0.002)%")
    assert len(capped.rows(capped.succeed("my_sleep", 0))) == 2


# --- TLS

@pytest.mark.parametrize("source", ["secured", "by_ca", "unverified", "preferring", "by_url", "by_socket", "plain_preferring"])
def test_tls_is_as_the_dsn_says(own, source):
    """And the connection is kept, whatever TLS has still to say on it."""
    ((cipher, first),), ((_, second),) = (own.rows(own.succeed("my_cipher", db=source, queue="one")) for _ in range(2))
    assert first == second
    assert cipher.startswith("TLS_") if source not in ("by_socket", "plain_preferring") else cipher == "", cipher


REFUSALS = {"distrusted": "certificate", "misnamed": "certificate", "plain_unverified": "TLS", "plain_verified": "TLS",
            "unknown_user": "(error 1045)", "unknown_db": "(error 1049)", "silent": "(error 2013)"}


@pytest.mark.parametrize("source", REFUSALS)
def test_refused_connections_say_why(own, source):
    """A certificate of another authority or for another host, no TLS where it is asked for, and so on; never the password."""
    job_id = own.submit("my_refused", db=source)
    error = wait_until(lambda: own.job(job_id)["error"], 15 * SLOW, "an error of the connection")
    own.delete(f"/jobs/{job_id}?purge=true")
    assert REFUSALS[source] in error.replace("SSL", "TLS"), error
    assert "s3cret" not in error


# --- the server dies

def test_killed_server_is_a_failure_and_nothing_is_published(own, maria):
    """In mid-stream: the run fails, nothing of it is readable; a job with a retry ends well when the server is back."""
    job_id = own.submit("my_drip")
    sturdy = own.submit("my_sleep", 1, retries=5)
    await_running(maria, "%SLEEP(0.002)%")
    await_running(maria, "%SLEEP(?)%")
    maria.kill()
    job = own.wait(job_id)
    assert job["state"] == "FAILURE", job
    assert "connection lost" in job["error"], job
    assert not own.has_table(job_id)
    maria.start()
    assert own.wait(sturdy, 60)["state"] == "SUCCESS"
    assert own.count(sturdy) == 2


def test_query_of_a_killed_worker_is_ended_before_another_takes_its_place(make_stack, stack, maria, tmp_path):
    """max_running: 1; the server does not notice by itself that a worker is dead: its successor's query comes after it."""
    (tmp_path / "held.sql").write_text("-- name: my_held\n-- db: maria\n-- results: reports\nSELECT SLEEP(?) AS slept, seq FROM seq_1_to_2;\n")
    one = make_stack(
        pg=stack.pg_source,
        start=False,
        sql_directories=[ROOT / "queries", QUERIES, tmp_path],
        config={"sources": {"maria": {"type": "mysql", "dsn": maria.dsn("shop"), "max_running": 1}}, "worker": {"lease": "2s"}},
    ).start()
    job = one.submit("my_held", 20)  # two rows

    def running():
        return maria.sql("SELECT id FROM information_schema.processlist WHERE info LIKE '%my_held%' AND info NOT LIKE '%processlist%'").split()

    (first,) = wait_until(running, 15 * SLOW, "the query")
    one.workers[0].kill()
    time.sleep(0.5)
    assert running() == [first]  # or there would be nothing to end
    one.worker("other")
    seen = [running()]
    wait_until(lambda: seen.append(running()) or (seen[-1] and seen[-1] != [first]), 20 * SLOW, "the next run's query")
    assert max(len(ids) for ids in seen) == 1, seen
    assert one.job(job)["attempt"] == 2
    assert one.delete(f"/jobs/{job}").status == 200
    wait_until(lambda: not running(), 10 * SLOW, "the end of it")
