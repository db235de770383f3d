"""ClickHouse (Debian's 18.16, and a current one) as a source of results that PostgreSQL keeps."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faults_support import Wire, memory_peak
from support import BIN_DIR, ROOT, SANITIZED, SLOW, ClickHouse, ClickHouseNew, to_yaml, wait_until
from test_mysql_source import certificates

from engines import READER, READER_PASSWORD

D = decimal.Decimal
VERSIONS = ("old", "new")
LATE = 1_000_000  # row of an error that comes behind rows
EXCEPTION = "Code: 159, e.displayText() = DB::Exception: Timeout exceeded: elapsed 1.5 seconds, maximum: 1, e.what() = DB::Exception"

OLD_KINDS = """
SELECT 1 AS id, toInt8(-128) AS i8, toUInt8(255) AS u8, toInt16(-32768) AS i16, toUInt16(65535) AS u16, toInt32(-2147483648) AS i32,
    toUInt32(4294967295) AS u32, toInt64('-9223372036854775808') AS i64, toUInt64('18446744073709551615') AS u64,
    toFloat32('0.1') AS f32, toFloat64('1.7976931348623157e308') AS f64, toDecimal32('-99999.9999', 4) AS d32,
    toDecimal128('-9999999999999999999.9999999999999999999', 19) AS d128, toDate('2105-12-31') AS da,
    toDateTime('2024-02-29 23:59:59', 'UTC') AS dt, toDateTime('2024-01-01 05:30:00', 'Asia/Kolkata') AS dtz,
    toUUID('123e4567-e89b-12d3-a456-426614174000') AS u, 'größe 😀 \\\\ \\t \\n \\r \\b \\f \\'' AS s, toFixedString('ab', 5) AS fs,
    CAST('small', 'Enum8(\\'small\\' = 1, \\'it\\\\\\'s\\' = 2)') AS e, [1, NULL, 3] AS arr, ('x\\'\\n', 2) AS tup,
    CAST(NULL, 'Nullable(Int32)') AS n, INTERVAL 3 DAY AS iv, nan AS nan, -inf AS inf, toDate(0) AS epoch
"""
NEW_KINDS = """
SELECT true AS yes, false AS no, toInt128('-170141183460469231731687303715884105728') AS i128,
    toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935') AS u256,
    toDecimal256('1.5', 40) AS d256, toDateTime64('2024-02-29 23:59:59.123456', 6, 'UTC') AS t6,
    toDateTime64('1925-01-01 00:00:00.5', 1, 'UTC') AS t1, toDateTime64('2024-02-29 23:59:59.123456789', 9, 'UTC') AS t9,
    toDate32('1900-01-01') AS da, toIPv4('192.0.2.1') AS ip4, toIPv6('2001:db8::ff') AS ip6, map('a', 1, 'it\\'s', 2) AS m,
    CAST('{"a": [1, 2], "b": "it\\'s"}', 'JSON') AS j, CAST('x', 'LowCardinality(Nullable(String))') AS lc,
    toTime64('12:34:56.5', 1) AS tm, CAST(NULL, 'Nullable(Bool)') AS maybe, toBFloat16(1.5) AS bf
"""

TASKS = {
    "ch_old_kinds": OLD_KINDS,
    "ch_new_kinds": NEW_KINDS,
    "ch_nulls": "SELECT number AS id, if(number = 1, NULL, toString(number)) AS s, if(number = 1, '\\\\N', '') AS t, if(number = 1, NULL,"
                " number) AS n FROM system.numbers LIMIT 3",
    "ch_echo": "SELECT ? AS a, hex(?) AS h, '?' AS \"b?\" -- ?",
    "ch_limit": "SELECT number FROM (SELECT number FROM system.numbers LIMIT 100) ORDER BY number LIMIT ?, ?",
    "ch_limit_offset": "SELECT number FROM (SELECT number FROM system.numbers LIMIT 100) WHERE number > toInt64(?) ORDER BY number LIMIT ?",
    "ch_big": "SELECT number AS id, concat(toString(number), substring(toString(arrayMap(x -> 7, range(500000))), 1, 999990)) AS s"
              " FROM system.numbers LIMIT 20",
    "ch_length": "SELECT length(concat(?, ?, ?, ?, ?)) AS n",
    "ch_none": "SELECT number AS id, 'x' AS s FROM system.numbers WHERE 0",
    "ch_twins": "SELECT name, name, name AS name_2 FROM system.one ARRAY JOIN ['x'] AS name",
    "ch_numbers": "SELECT number AS id, toString(number) AS s FROM (SELECT number FROM system.numbers LIMIT 300000)",
    "ch_many": "SELECT number AS id, toString(number) AS s FROM (SELECT number FROM system.numbers LIMIT 5000000)",
    "ch_early": "SELECT throwIf(number = 0) FROM (SELECT number FROM system.numbers LIMIT 1)",
    "ch_no_column": "SELECT nothing FROM system.one",
    "ch_late_text": f"SELECT toString(number + throwIf(number = {LATE})) AS s FROM (SELECT number FROM system.numbers LIMIT {2 * LATE})",
    # An error whose text is a good row of one column of text: not even a quote.
    "ch_late_plain": f"SELECT toString(intDiv(number, number - {LATE})) AS s FROM (SELECT number FROM system.numbers LIMIT {2 * LATE})",
    "ch_late_number": f"SELECT number + throwIf(number = {LATE}) AS n FROM (SELECT number FROM system.numbers LIMIT {2 * LATE})",
    "ch_late_columns": f"SELECT number + throwIf(number = {LATE}) AS n, 'x' AS s, 1 FROM (SELECT number FROM system.numbers LIMIT {2 * LATE})",
    # Rows that read as errors do, as the first, in the middle and as the last.
    "ch_looks": "SELECT if(number % 1000 = 0, ?, toString(number)) AS s FROM (SELECT number FROM system.numbers LIMIT 2001)",
    "ch_looks_two": "SELECT if(number % 1000 = 0, ?, toString(number)) AS s, number AS id FROM (SELECT number FROM system.numbers LIMIT 2001)",
    "ch_endless": "SELECT number AS n, toString(number) AS s FROM system.numbers",
    "ch_thinking": "SELECT count() FROM system.numbers",
    "ch_insert": "INSERT INTO kept SELECT 1",
    "ch_kept": "SELECT count() AS n FROM kept",
    "ch_format": "SELECT 1 AS a FORMAT TSVWithNames",
    "ch_format_json": "SELECT 1 AS a FORMAT JSON",
    "ch_totals": "SELECT number % 2 AS a, count() FROM (SELECT number FROM system.numbers LIMIT 9) GROUP BY a WITH TOTALS",
    "ch_totals_text": "SELECT toString(count()) AS c FROM (SELECT number FROM system.numbers LIMIT 9) GROUP BY number % 2 WITH TOTALS",
    "ch_totals_number": "SELECT count() FROM (SELECT number FROM system.numbers LIMIT 9) GROUP BY number % 2 WITH TOTALS",
    "ch_state": "SELECT sumState(toUInt8(1)) AS s",
    "ch_setting": "SELECT value FROM system.settings WHERE name = ?",
    "ch_wrong_argument": "SELECT toInt64(?) AS n",
}
LIMITED = {"ch_limited_thinking": TASKS["ch_thinking"], "ch_limited_endless": TASKS["ch_endless"]}


class Fake:
    """A server that answers the driver's questions about settings, and queries with what answer(text, path) returns: (status,
    headers, body); a body of None: it says nothing more."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.seen.append((text, self.path))
                if text.startswith("SELECT name, value FROM system.settings"):
                    status, headers, body = 200, {}, "name\tvalue\nString\tString\nextremes\t0\nreadonly\t0\n"
                elif text.startswith("KILL"):
                    status, headers, body = 200, {}, ""
                else:
                    status, headers, body = outer.answer(text, self.path)
                data = body.encode()
                self.send_response(status)
                for name, value in {"Content-Type": "text/tab-separated-values; charset=UTF-8", "Content-Length": str(len(data)),
                                    **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = "Content-Length" in headers

            def log_message(self, *args: object) -> None:
                pass

        self.seen: list[tuple[str, str]] = []
        self.answer = lambda text, path: (200, {}, "a\nUInt8\n1\n")
        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://app:s3cret@127.0.0.1:{self.server.server_address[1]}/"

    def secure(self, directory: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def place():
    directory = Path(tempfile.mkdtemp(prefix="dbt-ch-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    directory.chmod(0o755)
    certificates(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def servers(place):
    """By version; `broken` is an old one whose profile ends results early."""
    made = {
        "old": ClickHouse(place / "old"),
        "new": ClickHouseNew(place / "new"),
        "breaking": ClickHouse(place / "breaking", profile={"max_result_rows": 1000, "result_overflow_mode": "break"}),
    }
    try:
        for server in made.values():
            server.start()
            server.query("CREATE TABLE kept (a Int32) ENGINE = Memory")
        yield made
    finally:
        for server in made.values():
            server.stop()


@pytest.fixture(scope="module")
def fake():
    made = Fake()
    yield made
    made.close()


@pytest.fixture(scope="module")
def secured(place):
    made = Fake("")  # all of 127.*: one of its names is not in the certificate
    made.secure(place)
    yield made
    made.close()


@pytest.fixture(scope="module")
def wires(servers):
    made = {version: Wire(lambda server=servers[version]: server.port) for version in VERSIONS}
    yield made
    for wire in made.values():
        wire.close()


@pytest.fixture(scope="module")
def own(make_module_stack, stack, servers, fake, secured, wires, place):
    sources = {"breaking": {"dsn": servers["breaking"].url() + "?max_block_size=100&extremes=1"},
               "breaking_reader": {"dsn": servers["breaking"].url(user=READER, password=READER_PASSWORD)}, "fake": {"dsn": fake.url}}
    for version in VERSIONS:
        server = servers[version]
        sources |= {
            version: {"dsn": server.url()},
            f"{version}_reader": {"dsn": server.url(user=READER, password=READER_PASSWORD)},
            f"{version}_writer": {"dsn": server.url(), "read_only": False},
            f"{version}_wire": {"dsn": server.url().replace(f":{server.port}/", f":{wires[version].port}/")},
            f"{version}_settings": {"dsn": server.url() + "?max_block_size=123&max_threads=1"},
            f"{version}_wrong": {"dsn": server.url(password="hunter2")},
            f"{version}_no_db": {"dsn": server.url("nowhere")},
        }
    port = secured.server.server_address[1]
    sources |= {
        "tls": {"dsn": f"https://app@127.0.0.1:{port}/?ca={place}/ca.pem"},
        "tls_distrusted": {"dsn": f"https://app@127.0.0.1:{port}/?ca={place}/other.pem"},
        "tls_unknown": {"dsn": f"https://app@127.0.0.1:{port}/"},
        "tls_misnamed": {"dsn": f"https://app@127.0.0.2:{port}/?ca={place}/ca.pem"},
        "tls_insecure": {"dsn": f"https://app@127.0.0.1:{port}/?insecure=1"},
        "nowhere": {"dsn": "http://127.0.0.1:1/"},
    }
    directory = place / "queries"
    directory.mkdir()
    tag = f"-- db: {', '.join(sources)}\n-- results: reports\n"
    texts = [f"-- name: {name}\n{tag}{sql.strip()};\n\n" for name, sql in TASKS.items()]
    texts += [f"-- name: {name}\n{tag}-- timeout: 1\n{sql};\n\n" for name, sql in LIMITED.items()]
    (directory / "clickhouse.sql").write_text("".join(texts))
    return make_module_stack(
        pg=stack.pg_source, queues={"default": 4, "one": 1}, sql_directories=["queries", directory],
        config={"sources": {name: {"type": "clickhouse", "connect_timeout": "1s", **keys} for name, keys in sources.items()},
                "worker": {"outage_timeout": "2s"}})


def running(server, job_id):
    """The texts of the job's queries that run."""
    text = server.query(f"SELECT query FROM system.processes WHERE query_id LIKE '%{job_id}.%'")
    return text.split("\n") if text else []


def await_gone(server, job_id, within=1.0):
    began = time.monotonic()
    wait_until(lambda: not running(server, job_id), 20 * SLOW, "the end of the query")
    took = time.monotonic() - began
    assert took < within * SLOW, took


version = pytest.mark.parametrize("version", VERSIONS)

# --- values


@version
def test_every_type_and_its_extremes_come_back(own, version):
    job_id = own.succeed("ch_old_kinds", db=version)
    (row,) = own.rows(job_id)
    names = [name for name, _ in own.columns(job_id)]
    got = dict(zip(names, row))
    assert got.pop("nan") != got.get("nan")
    assert got.pop("epoch") == (None if version == "old" else dt.date(1970, 1, 1))
    assert got == {
        "id": 1, "i8": -128, "u8": 255, "i16": -32768, "u16": 65535, "i32": -2147483648, "u32": 4294967295, "i64": -9223372036854775808,
        "u64": D(18446744073709551615), "f32": 0.1, "f64": 1.7976931348623157e308, "d32": D("-99999.9999"),
        "d128": D("-9999999999999999999.9999999999999999999"), "da": dt.date(2105, 12, 31), "dt": dt.datetime(2024, 2, 29, 23, 59, 59),
        "dtz": dt.datetime(2024, 1, 1, 5, 30), "u": uuid.UUID("123e4567-e89b-12d3-a456-426614174000"),
        "s": "größe 😀 \\ \t \n \r \b \f '", "fs": "ab", "e": "small", "arr": "[1,NULL,3]", "tup": "('x\\'\\n',2)", "n": None, "iv": 3,
        "inf": float("-inf"),
    }


def test_the_types_of_newer_servers_come_back(own):
    job_id = own.succeed("ch_new_kinds", db="new")
    (row,) = own.rows(job_id)
    got = dict(zip([name for name, _ in own.columns(job_id)], row))
    assert (str(got.pop("ip4")), str(got.pop("ip6"))) == ("192.0.2.1", "2001:db8::ff")
    assert got == {
        "yes": True, "no": False, "maybe": None, "i128": D(-2**127), "u256": D(2**256 - 1), "d256": D("1.5"),
        "t6": dt.datetime(2024, 2, 29, 23, 59, 59, 123456), "t1": dt.datetime(1925, 1, 1, 0, 0, 0, 500000),
        "t9": "2024-02-29 23:59:59.123456789", "da": dt.date(1900, 1, 1), "m": "{'a':1,'it\\'s':2}",
        "j": got["j"], "lc": "x", "tm": "12:34:56.5", "bf": 1.5,
    }
    assert [int(n) for n in got["j"]["a"]] == [1, 2]
    assert got["j"]["b"] == "it's"


@version
def test_null_is_neither_nothing_nor_backslash_n(own, version):
    assert own.rows(own.succeed("ch_nulls", db=version)) == [(0, "0", "", 0), (1, None, "\\N", None), (2, "2", "", 2)]


@version
def test_arguments_come_back_byte_for_byte(own, version):
    texts = ["x'; DROP TABLE kept; --", "\\'; SELECT 1; --", "' OR 1=1 /*", "?", "$1", "{a:String}", "größe 😀", "\\", "\\\\'", "'", "",
             "".join(map(chr, range(1, 128))), "a\tb\nc\\N", "\\N"]
    for text in texts:
        assert own.rows(own.succeed("ch_echo", text, text, db=version)) == [(text, text.encode().hex().upper(), "?")]


@version
def test_an_argument_of_null_is_null(own, version):
    assert own.rows(own.succeed("ch_echo", None, "x", db=version)) == [(None, "78", "?")]


@version
def test_numbers_behind_limit_and_conversions_elsewhere(own, version):
    assert own.rows(own.succeed("ch_limit", "3", "2", db=version)) == [(3,), (4,)]
    assert own.rows(own.succeed("ch_limit", 90, 20, db=version)) == [(n,) for n in range(90, 100)]
    assert own.rows(own.succeed("ch_limit_offset", "41", "2", db=version)) == [(42,), (43,)]
    assert "(code " in own.fail("ch_limit", "1", "2 UNION ALL SELECT 1", db=version)["error"]
    assert own.rows(own.succeed("ch_wrong_argument", "-7", db=version)) == [(-7,)]
    assert "(code " in own.fail("ch_wrong_argument", "seven", db=version)["error"]


@version
def test_long_values_and_a_long_argument(own, version):
    job_id = own.succeed("ch_big", db=version)
    lengths = own.query(f'SELECT id, length(s), left(s, 4) FROM "results_{job_id}" ORDER BY id')
    assert lengths == [(n, 999990 + len(str(n)), f"{n}[7,"[:4]) for n in range(20)]
    assert own.rows(own.succeed("ch_length", *["'" * 60_000] * 5, db=version)) == [(300_000,)]


@version
def test_an_empty_result_has_its_columns(own, version):
    job_id = own.succeed("ch_none", db=version)
    assert own.rows(job_id) == []
    assert own.columns(job_id) == [("id", "numeric(20,0)"), ("s", "text")]


@version
def test_names_are_made_unique(own, version):
    assert [name for name, _ in own.columns(own.succeed("ch_twins", db=version))] == ["name", "name_2", "name_2_2"]


# --- errors


@version
@pytest.mark.parametrize(("task", "says"), [
    ("ch_early", "throwIf"), ("ch_no_column", "nothing"), ("ch_format", "FORMAT clause"), ("ch_format_json", "FORMAT clause"),
    ("ch_totals", "WITH TOTALS"), ("ch_totals_text", "WITH TOTALS"), ("ch_totals_number", "WITH TOTALS"),
    ("ch_state", "no text form"),
])
def test_a_query_that_cannot_be_a_result_fails_and_says_why(own, version, task, says):
    job = own.fail(task, db=version)
    assert says in job["error"], job
    assert not re.search(r"DB::Exception|e\.what|version \d", job["error"]), job
    assert not own.has_table(job["job_id"])


@version
@pytest.mark.parametrize(("task", "says"), [
    ("ch_late_text", "throwIf"), ("ch_late_number", "throwIf"), ("ch_late_columns", "throwIf"), ("ch_late_plain", "Division by zero"),
])
def test_an_error_behind_rows_is_a_failure(own, version, task, says):
    """The status has been 200 for long: nothing is published, whatever the error looks like."""
    job = own.fail(task, db=version)
    assert says in job["error"], job
    assert "(code " in job["error"], job
    assert not own.has_table(job["job_id"])
    assert own.count(own.succeed("ch_nulls", db=version)) == 3


@version
@pytest.mark.parametrize("text", [
    EXCEPTION, EXCEPTION.replace("Timeout", "'Timeout'"), "Code: 395. DB::Exception: x. (NAME) (version 26.9.2.1)",
    "Poco::Exception. Code: 1000, e.code() = 0, e.displayText() = x", "\r\n__exception__\r\nabc", "__exception__", "\r", EXCEPTION + "\n\nb",
])
def test_a_row_that_looks_like_an_error_is_a_row(own, version, text):
    for task in ("ch_looks", "ch_looks_two"):
        job_id = own.succeed(task, text, db=version)
        assert own.count(job_id) == 2001
        assert own.query(f'SELECT count(*) FROM "results_{job_id}" WHERE s = %s', text) == [(3,)]


@pytest.mark.parametrize(("second", "state", "says"), [
    ((200, {}, f"s\nString\n1\n{EXCEPTION}\n"), "SUCCESS", ""),
    ((200, {}, "s\nString\n1\n2\n3\n"), "FAILURE", "Timeout exceeded"),
    ((200, {}, f"s\nString\n{EXCEPTION}\n1\n"), "FAILURE", "Timeout exceeded"),
    ((500, {}, EXCEPTION), "FAILURE", "Timeout exceeded"),
    ((500, {}, EXCEPTION.replace("159", "241").replace("Timeout", "Memory")), "FAILURE", "Memory"),
])
def test_a_last_row_that_could_be_an_error_is_asked_about_again(own, fake, second, state, says):
    """The second time the server has to say by its status whether all went well."""
    fake.answer = lambda text, path: second if "wait_end_of_query=1" in path else (200, {}, f"s\nString\n1\n{EXCEPTION}\n")
    job = own.run("ch_looks", "x", db="fake")
    assert job["state"] == state, job
    assert says in job["error"], job
    assert own.has_table(job["job_id"]) == (state == "SUCCESS")


@pytest.mark.parametrize(("answer", "says"), [
    ((200, {}, "a\tb\nUInt8\tString\n1\tx\n2\n"), "row 2 of the answer has 1 cells, not 2"),
    ((200, {}, "a\tb\nUInt8\tString\n1\tx\n2\ty"), "in the middle of a row"),
    ((200, {}, "a\tb\nUInt8\tString\n1\tx\\q\n"), "row 1"),
    ((200, {}, "a\tb\nUInt8\tString\n1\tx\nPoco::Exception. Code: 1000, e.code() = 2, e.displayText() = disk\n"), "disk (code 1000)"),
    ((200, {}, "a\tb\nUInt8\tString\nCode: 241, e.displayText() = DB::Exception: no memory\tleft\nmore"), "no memory"),
    ((200, {}, "a\tb\nUInt8\tString\n1\tx\nCode: 1. DB::Exception: cut"), "cut (code 1)"),
    ((200, {"Content-Length": "99"}, "a\nUInt8\n1\n"), "connection lost"),
    ((200, {"X-ClickHouse-Exception-Tag": "t", "Content-Length": "99"}, "a\nUInt8\n1\n\r\n__exception__\r\nt\r\nCode: 9. DB::Exception: late\n9 t\r\n__exception__\r\n"), "late"),
    ((200, {}, "a\n"), "FORMAT clause"),
    ((200, {}, "1\n2\n3\n"), "FORMAT clause"),
    ((200, {"Content-Type": "text/html"}, "<html>\n<body>\n"), "FORMAT clause"),
    ((200, {}, ""), "no columns"),
    ((302, {"Location": "http://127.0.0.1:1/"}, ""), "HTTP status 302"),
    ((503, {"Content-Type": "text/html"}, "<html>busy</html>"), "HTTP status 503"),
    ((500, {}, "Code: 202, e.displayText() = DB::Exception: Too many, e.what() = DB::Exception"), "Too many (code 202)"),
])
def test_an_answer_that_is_not_whole_is_a_failure(own, fake, answer, says):
    fake.answer = lambda text, path: answer
    job = own.fail("ch_none", db="fake")
    assert says in job["error"], job
    assert not own.has_table(job["job_id"])


@version
def test_a_limit_of_the_profile_that_would_shorten_a_result(own, servers, version):
    """The driver has the server throw where its profile says `break`; a user who may not change settings is refused."""
    job = own.fail("ch_numbers", db="breaking")
    assert "(code 396)" in job["error"], job
    assert own.rows(own.succeed("ch_nulls", db="breaking"))[0] == (0, "0", "", 0)
    job = own.fail("ch_nulls", db="breaking_reader")
    assert "result_overflow_mode" in job["error"], job


# --- connections


@version
def test_a_server_cut_off_in_mid_stream_is_a_failure_or_tried_again(own, wires, version):
    for retries, state in ((0, "FAILURE"), (3, "SUCCESS")):
        job_id = own.submit("ch_many", db=f"{version}_wire", retries=retries)
        wait_until(lambda: loading(own), 20 * SLOW, "rows")
        wires[version].cut()
        wires[version].mend()
        job = own.wait(job_id, 60)
        assert job["state"] == state, job
        assert own.has_table(job_id) == (state == "SUCCESS")
        if state == "FAILURE":
            assert "connection lost" in job["error"], job
    assert own.count(job_id) == 5_000_000


def loading(own):
    """Is a COPY of rows under way?"""
    with own.db() as connection:
        return connection.execute("SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 1000 AND datname = current_database()").fetchone()


@version
def test_a_server_that_cannot_be_used_is_waited_for_and_named(own, version):
    for db, says in ((f"{version}_wrong", "(code "), (f"{version}_no_db", "nowhere"), ("nowhere", "cannot connect")):
        job = own.fail("ch_nulls", db=db)
        assert says in job["error"], job
        assert "hunter2" not in job["error"]
    assert "hunter2" not in own.workers[0].log_text()


def test_certificates_are_verified(own, secured):
    secured.answer = lambda text, path: (200, {}, "a\nUInt8\n1\n")
    for db in ("tls", "tls_insecure"):
        assert own.rows(own.succeed("ch_nulls", db=db)) == [(1,)]
    for db in ("tls_distrusted", "tls_unknown", "tls_misnamed"):
        assert "SSL" in own.fail("ch_nulls", db=db)["error"]


# --- what a user may


@version
def test_a_user_who_may_only_read(own, servers, version):
    """readonly = 1: no setting can be sent; queries run, a cancel ends them, writes are refused."""
    db = f"{version}_reader"
    assert own.rows(own.succeed("ch_echo", "x", "y", db=db)) == [("x", "79", "?")]
    assert "readonly" in own.fail("ch_insert", db=db)["error"].lower()
    job_id = own.submit("ch_thinking", db=db)
    wait_until(lambda: running(servers[version], job_id), 20 * SLOW, "the query")
    own.delete(f"/jobs/{job_id}")
    await_gone(servers[version], job_id)
    assert own.fail("ch_limited_thinking", db=db)["error"].startswith("the time limit")


@version
def test_a_source_that_is_only_read_refuses_writes(own, servers, version):
    job = own.fail("ch_insert", db=version)
    assert "readonly" in job["error"].lower(), job
    assert servers[version].query("SELECT count() FROM kept") == "0"
    job = own.fail("ch_insert", db=f"{version}_writer")
    assert "no columns" in job["error"], job
    assert servers[version].query("SELECT count() FROM kept") == "1"
    servers[version].query("DROP TABLE kept")
    servers[version].query("CREATE TABLE kept (a Int32) ENGINE = Memory")


@version
def test_settings_of_the_dsn_go_along(own, version):
    assert own.rows(own.succeed("ch_setting", "max_block_size", db=f"{version}_settings")) == [("123",)]
    assert own.rows(own.succeed("ch_setting", "readonly", db=version)) == [("2",)]


# --- running


@version
def test_an_operator_sees_whose_query_it_is(own, servers, version):
    job_id = own.submit("ch_thinking", db=version)
    (text,) = wait_until(lambda: running(servers[version], job_id), 20 * SLOW, "the query")
    assert text.startswith(f"/* dungbeetle: {job_id} ch_thinking */"), text
    own.delete(f"/jobs/{job_id}")
    await_gone(servers[version], job_id)


def unread(server):
    """Bytes that the server has written and nobody has taken, of each of its connections."""
    local = f":{server.port:04X}"
    with open("/proc/net/tcp") as table:
        return [int(line.split()[4].split(":")[0], 16) for line in table if line.split()[1].endswith(local)]


@version
def test_a_cancel_ends_a_stream_whose_sink_is_stuck(own, servers, version):
    """The worker waits for the results database, whose process is stopped, and the server for the worker, which takes nothing."""
    job_id = own.submit("ch_endless", db=version)
    wait_until(lambda: running(servers[version], job_id) and loading(own), 20 * SLOW, "rows")
    with own.db() as connection:
        (loader,) = connection.execute("SELECT pid FROM pg_stat_progress_copy WHERE datname = current_database()").fetchone()
    os.kill(loader, signal.SIGSTOP)
    try:
        looks = [[]]
        wait_until(lambda: looks.append(unread(servers[version])) or (max(looks[-1], default=0) > 0 and looks[-5:] == 5 * looks[-1:]),
                   20 * SLOW, "a server that waits")
        own.delete(f"/jobs/{job_id}")
        await_gone(servers[version], job_id)
    finally:
        os.kill(loader, signal.SIGCONT)
    wait_until(lambda: not loading(own), 20 * SLOW, "the end of the load")
    assert not own.has_table(job_id)
    assert own.count(own.succeed("ch_nulls", db=version)) == 3


@version
@pytest.mark.parametrize("task", ["ch_limited_thinking", "ch_limited_endless"])
def test_the_time_limit_ends_a_query(own, servers, version, task):
    began = time.monotonic()
    job = own.fail(task, db=version)
    assert job["error"].startswith("the time limit of 1000 ms is over"), job
    assert time.monotonic() - began < 6 * SLOW
    await_gone(servers[version], job["job_id"])
    assert not own.has_table(job["job_id"])


@version
@pytest.mark.skipif(SANITIZED, reason="sanitizers have memory of their own")
def test_memory_does_not_grow_with_the_result(make_stack, stack, own, version):
    """5,000,000 rows, faster than PostgreSQL takes them: the worker reads only as fast as that."""
    before = memory_peak(own.workers[0].pid)
    assert own.count(own.succeed("ch_many", db=version)) == 5_000_000
    after = memory_peak(own.workers[0].pid)
    assert after < 100e6, (before, after)
    assert after - before < 10e6, (before, after)


# --- before it runs


@version
def test_check_finds_what_is_wrong_without_running_anything(own, servers, place, version):
    tasks = {
        "good": "SELECT number FROM system.numbers WHERE number > toInt64(?) AND toString(number) LIKE ? LIMIT ?",
        "good_endless": "SELECT count() FROM system.numbers",
        "good_date": "SELECT 1 WHERE today() >= toDate(?) AND now() > ?",
        "good_show": "SHOW TABLES",
        "bad_table": "SELECT * FROM no_such_table WHERE a = ?",
        "bad_column": "SELECT no_such_column FROM kept",
        "bad_syntax": "SELECT FROM WHERE FROM",
        "bad_function": "SELECT no_such_function(?)",
        "bad_format": "SELECT 1 FORMAT JSON",
        "bad_insert": "INSERT INTO kept SELECT 1",
    }
    directory = place / f"check_{version}"
    directory.mkdir()
    (directory / "tasks.sql").write_text("".join(f"-- name: {name}\n-- db: {version}\n{sql};\n\n" for name, sql in tasks.items()))
    config = Path(own.dir) / f"check_{version}.yml"
    config.write_text(to_yaml({**own.config, "sources": {version: own.config["sources"][version]}, "sql_directories": [str(directory)]}))
    done = subprocess.run([ROOT / BIN_DIR / "dungbeetle-worker", "--check", "--config", config], capture_output=True, text=True, check=False)
    for name in tasks:
        found = [line for line in done.stdout.splitlines() if f"task {name} " in line]
        assert len(found) == name.startswith("bad_"), (name, done.stdout + done.stderr)
    assert f"source {version}: ok" in done.stdout, done
    assert servers[version].query("SELECT count() FROM kept") == "0"


def test_a_query_is_sent_with_headers_not_with_a_password_in_its_address(own, fake):
    fake.answer = lambda text, path: (200, {}, "a\nUInt8\n1\n")
    fake.seen.clear()
    job_id = own.succeed("ch_echo", "it's", "b", db="fake")
    ((text, path),) = [(text, path) for text, path in fake.seen if "ch_echo" in text]
    assert text == f"/* dungbeetle: {job_id} ch_echo */ SELECT 'it\\'s' AS a, hex('b') AS h, '?' AS \"b?\""
    params = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
    assert params.pop("query_id").startswith(f"dungbeetle-{job_id}.ch_echo-")
    assert params == {"default_format": "TabSeparatedWithNamesAndTypes", "readonly": "2"}
    assert "s3cret" not in path
