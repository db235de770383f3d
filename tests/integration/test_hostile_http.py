"""HTTP through nginx from clients that are slow, gone, many, or mean."""

from __future__ import annotations

import http.client
import json
import random
import re
import resource
import selectors
import signal
import socket
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest
from footprint import assert_no_growth, footprint
from support import SLOW, check_envelope, uid, wait_until

LIMIT = 1 << 20  # limits.body and client_max_body_size
DEPTH = 16  # limits.json_depth
CLIENTS = 10_000


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    """Room for many clients, and little patience with slow ones: 1 s."""
    made = make_module_stack(pg=stack.pg_source, workers=0, nginx={"worker_connections": 2 * CLIENTS + 100})
    site = made.nginx.dir / "site.conf"
    text, count = re.subn(r"\t(client_body_timeout|client_header_timeout|send_timeout) 10s;", r"\t\1 1s;", site.read_text())
    assert count == 3
    site.write_text(text)
    before = nginx_workers(made)
    made.nginx.program.signal(signal.SIGHUP)
    wait_until(lambda: nginx_workers(made) and not nginx_workers(made) & before, 10 * SLOW, "new workers of nginx")
    return made


def nginx_workers(stack):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(stack.nginx.program.pid)], capture_output=True, text=True, check=False)
    return set(found.stdout.split())


@pytest.fixture
def storm(own):
    """The FastCGI process is the same before and after: its pid, files, threads and memory."""
    own.get("/health")
    pid = own.fcgi[0].pid
    before = footprint(own)
    yield
    assert (own.fcgi[0].alive(), own.fcgi[0].pid) == (True, pid), own.fcgi[0].log_tail()
    assert own.get("/health").status == 200
    assert_no_growth(own, before)


def connect(stack, timeout=30.0):
    return socket.create_connection(("127.0.0.1", stack.nginx.port), timeout=timeout * SLOW)


def answer_of(s):
    """One answer, its envelope checked."""
    response = http.client.HTTPResponse(s)
    response.begin()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return check_envelope(response.status, json.loads(body), headers)


def raw(stack, text):
    with connect(stack) as s:
        s.sendall(text)
        return answer_of(s)


def post_text(body, path="/tasks/nothing_asked/jobs", more=""):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def is_closed(s):
    """Waits for the end of the connection; an answer before it is read over."""
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def reset(s):
    """Closes so that the other side is told at once and no port waits."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def padded(length):
    """A job request of exactly so many bytes."""
    fields = json.dumps({"queue": uid("nobody"), "unknown": ""}).encode()
    return fields[:-2] + b"z" * (length - len(fields)) + b'"}'


# --- slow and gone


def test_slow_clients_are_given_up_and_hold_up_nobody(own, storm):
    """300 each with half a request line, half a header and half a body; meanwhile others are served at once."""
    halves = (b"POST /tas", b"POST /tasks/nothing_asked/jobs HTTP/1.1\r\nHost: x\r\nX-", post_text(b"{}" + b" " * 1000)[:-900])
    with ExitStack() as opened:
        slow = [opened.enter_context(connect(own)) for _ in range(900)]
        for i, s in enumerate(slow):
            s.sendall(halves[i % 3])
        for _ in range(20):
            assert own.post("/tasks/nothing_asked/jobs", {"queue": "nobody"}).status == 200
        assert all(is_closed(s) for s in slow)


def test_a_body_that_trickles_in_is_accepted_whole(own, storm):
    body = json.dumps({"job_id": (job_id := uid()), "queue": "nobody"}).encode()
    text = post_text(body)
    with connect(own) as s:
        for i in range(len(text)):
            s.sendall(text[i : i + 1])
            time.sleep(0.005)
        assert answer_of(s).data["job_id"] == job_id
    assert own.delete(f"/jobs/{job_id}").status == 200


def test_clients_that_do_not_read_hold_up_nobody(own):
    """50 of them ask 30 times for a page of 400 KB and leave it there: nginx takes it from the program and gives the client up.
    What the program needed for them it has given back soon."""
    queue = uid("nobody")
    assert own.post("/groups", {"jobs": [{"task": "nothing_asked", "queue": queue}] * 1000}).status == 200
    text = f"GET /jobs/queue/{queue}?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 30
    before = footprint(own)
    with ExitStack() as opened:
        for _ in range(50):
            s = opened.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", own.nginx.port))
            s.sendall(text)
        for _ in range(20):
            assert own.get("/health").status == 200
        wait_until(lambda: clients(own) == 0, 60 * SLOW, "nginx gives them up")
    assert_no_growth(own, before)
    own.r.flushall()


def clients(stack):
    """Open connections of nginx's clients."""
    port = f":{stack.nginx.port:04X}"
    with open("/proc/net/tcp") as table:
        return sum(line.split()[1].endswith(port) and line.split()[3] == "01" for line in table)


def test_clients_that_go_away_at_any_moment_leave_nothing_behind(own, storm):
    """1,500 requests cut at every length, by a close or a reset; those that came whole may be accepted, none twice."""
    queue = uid("nobody")
    body = json.dumps({"queue": queue, "unknown": "x" * 200}).encode()
    text = post_text(body)
    for i in range(1500):
        s = connect(own)
        s.sendall(text[: i % (len(text) + 1)])
        if i % 2:
            reset(s)
        else:
            s.close()
    assert own.post("/tasks/nothing_asked/jobs", {"queue": queue}).status == 200
    entries = own.get(f"/jobs/queue/{queue}?limit=1000").data
    assert 1 <= len(entries) <= 1 + 1500 // (len(text) + 1) + 1
    for entry in entries:
        assert own.delete(f"/jobs/{entry['ID']}").status == 200


# --- many


@contextmanager
def room_for(files):
    """Open files of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), max(hard, files)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def exchange(sockets, text):
    """Sends the same to all at once and returns the statuses of their answers, each of which is read whole."""
    statuses = []
    with selectors.DefaultSelector() as waiting:
        for s in sockets:
            waiting.register(s, selectors.EVENT_READ)
        for s in sockets:
            s.sendall(text)
        while waiting.get_map():
            ready = waiting.select(60 * SLOW)
            assert ready, f"{len(waiting.get_map())} clients have no answer"
            for key, _ in ready:
                statuses.append(answer_of(key.fileobj).status)
                waiting.unregister(key.fileobj)
    return statuses


def test_ten_thousand_connections(own, storm):
    """All have had an answer and stay open. While they do, others are served within a second, and 2,000 of them POST at once, twice:
    each job that was answered with 200 is there, and no other."""
    queue = uid("nobody")
    body = post_text(json.dumps({"queue": queue}).encode())
    with room_for(CLIENTS + 500):
        sockets = []
        try:
            for _ in range(CLIENTS // 500):
                batch = [connect(own) for _ in range(500)]
                sockets += batch
                assert set(exchange(batch, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == {200}
            assert clients(own) >= CLIENTS
            for _ in range(50):
                began = time.monotonic()
                assert own.get("/health").status == 200
                assert time.monotonic() - began < 1 * SLOW
            statuses = exchange(sockets[:2000], body) + exchange(sockets[:2000], body)
        finally:
            for s in sockets:
                reset(s)
    print({status: statuses.count(status) for status in set(statuses)})
    assert set(statuses) == {200}
    accepted = own.metric("dungbeetle_jobs_accepted_total", queue=queue)
    assert accepted == statuses.count(200) == own.r.xlen(own.key(f"queue:{queue}"))
    own.r.flushall()


# --- bodies


@pytest.mark.parametrize(("more", "expected"), [(0, 200), (1, 413), (1 << 20, 413)])
@pytest.mark.parametrize("chunk", [0, 1 << 12, 1 << 20])
def test_a_body_may_be_as_long_as_the_limit_and_no_longer(stack, more, expected, chunk):
    """Declared, and in chunks."""
    body = padded(LIMIT + more)
    text = post_text(body)
    if chunk:
        parts = [body[at : at + chunk] for at in range(0, len(body), chunk)]
        text = b"POST /tasks/nothing_asked/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        text += b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    with connect(stack) as s:
        try:
            s.sendall(text)
        except (BrokenPipeError, ConnectionResetError):
            assert expected == 413  # answered before we had said all
        answer = answer_of(s)
    assert answer.status == expected
    if expected == 200:
        assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200


def test_a_length_that_is_announced_and_too_large_is_413_before_the_body(stack):
    answer = raw(stack, b"POST /groups HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
    assert answer.status == 413


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: identity, chunked",
    ],
)
def test_lengths_that_contradict_themselves_are_refused(stack, headers):
    """No request can hide in another one's body."""
    text = f"POST /tasks/nothing_asked/jobs HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode()
    assert raw(stack, text + b"{}GET /health HTTP/1.1\r\nHost: x\r\n\r\n").status in (400, 413, 501)


# --- JSON


def nested(levels, opening):
    """A value of so many levels, of which a number is the last; opening says which kinds, in turn."""
    text = "1"
    for i in range(levels - 1):
        text = f"[{text}]" if opening[i % len(opening)] == "[" else f'{{"a": {text}}}'
    return text


@pytest.mark.parametrize("opening", ["[", "{", "[{", "{{["])
@pytest.mark.parametrize(("levels", "expected"), [(DEPTH - 1, 200), (DEPTH, 400), (5_000, 400)])
def test_json_may_be_as_deep_as_the_limit_and_no_deeper(stack, opening, levels, expected):
    answer = stack.post("/tasks/nothing_asked/jobs", f'{{"queue": "{uid("nobody")}", "unknown": {nested(levels, opening)}}}')
    assert answer.status == expected
    if expected == 400:
        assert f"deeper than {DEPTH} levels" in answer.message
    else:
        assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200


def test_brackets_in_a_text_are_no_depth(stack):
    assert stack.post("/tasks/nothing_asked/jobs", {"queue": "nobody", "unknown": '[{"' * 10_000}).status == 200


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("9223372036854775807", 200),
        ("9223372036854775808", 200),
        ("18446744073709551615", 200),
        ("18446744073709551616", 400),
        ("-9223372036854775808", 200),
        ("-9223372036854775809", 400),
        ("1" + "0" * 50_000, 400),
        ("1e400", 200),
        ("-1E+999999999", 200),
        ("1e-99999", 200),
        ("0." + "3" * 50_000, 200),
        ("-0", 200),
        ("1" * 400 + ".5", 200),
        ("0x10", 400),
        ("1e", 400),
        ("--1", 400),
        ("Infinity", 400),
        ("-Infinity", 400),
    ],
)
def test_a_number_keeps_its_digits_or_is_refused(stack, number, expected):
    """As an argument; as a count anything but a small whole number is 400."""
    job_id = uid()
    answer = stack.post("/tasks/echo/jobs", f'{{"job_id": "{job_id}", "args": [{number}, ""]}}')
    assert answer.status == expected
    if expected == 200:
        assert stack.wait(job_id)["state"] == "SUCCESS"
        assert stack.rows(job_id)[0][0] == ("0" if number == "-0" else number)
    assert stack.post("/tasks/echo/jobs", f'{{"retries": {number}}}').status == (200 if number == "-0" else 400)


@pytest.mark.parametrize(
    "text",
    [
        *(b"\x80", b"\xc3", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80"),
        *(b"\xf8\x88\x80\x80\x80", b"\xff\xfe"),
    ],
)
@pytest.mark.parametrize("place", [b'{"args": ["%s"]}', b'{"job_id": "%s"}', b'{"unknown": "%s"}', b'{"%s": 1}', b'{"a": "b"} %s'])
def test_what_is_no_utf8_is_400_wherever_it_stands(stack, text, place):
    assert stack.post("/tasks/nothing_asked/jobs", place % text).status == 400


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\udc00\\ud800", "\\ud83d"])
def test_half_a_surrogate_pair_is_refused_or_replaced_and_never_stored(stack, text):
    job_id = uid()
    answer = stack.post("/tasks/echo/jobs", f'{{"job_id": "{job_id}", "args": ["<{text}>", ""]}}')
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert stack.wait(job_id)["state"] == "SUCCESS"
        assert "\ufffd" in stack.rows(job_id)[0][0]


NUL_PLACES = [
    ("/tasks/echo/jobs", '{"job_id": "a%s"}', 400),
    ("/tasks/echo/jobs", '{"queue": "%s"}', 400),
    ("/tasks/echo/jobs", '{"db": "ledger%s"}', 400),
    ("/tasks/echo/jobs", '{"eta": "%s"}', 400),
    ("/tasks/echo/jobs", '{"args": ["%s", ""]}', 400),
    ("/groups", '{"group_id": "g%s", "jobs": [{"task": "nothing_asked"}]}', 400),
    ("/groups", '{"jobs": [{"task": "nothing_asked%s"}]}', 404),
    ("/groups", '{"jobs": [{"task": "nothing_asked", "job_id": "%s"}]}', 400),
]


@pytest.mark.parametrize(("path", "body", "expected"), NUL_PLACES)
def test_a_nul_ends_no_text_early(stack, path, body, expected):
    """Escaped it is a character that no name has; raw it is no JSON."""
    assert stack.post(path, body % "\\u0000").status == expected
    assert stack.post(path, body % "\0").status == 400


def test_of_a_field_that_comes_twice_the_last_one_counts(stack):
    first, last = uid("nobody"), uid("nobody")
    answer = stack.post("/tasks/nothing_asked/jobs", f'{{"queue": "{first}", "retries": "x", "queue": "{last}", "retries": 2}}')
    assert (answer.data["queue"], answer.data["retries"]) == (last, 2)
    assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200


def test_of_a_parameter_that_comes_twice_the_first_one_counts(stack):
    shown = stack.get("/tasks?sql=0&sql=1").data
    assert all("raw" not in task for task in shown.values())
    assert stack.get("/tasks?sql=x&sql=1").status == 400
    assert stack.get("/tasks?sql=1&sql=x").status == 200


# --- the URL, headers, methods


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tasks/a%2Fb/jobs", (405,)),
        ("/%74asks", (200,)),
        ("/jobs/%2E%2E", (400,)),
        ("/jobs/..%2Fqueue", (400,)),
        ("/jobs/%2500", (400,)),
        ("/jobs/queue/%00", (400,)),
        ("/tasks/%00/jobs", (400,)),
        ("/groups/a%0", (400,)),
        ("/tasks?sql=%00", (400,)),
        ("/jobs/queue/q?after=%00", (400,)),
        ("/jobs/queue/q?limit=%31%30", (200,)),
        ("/jobs/%ff%fe", (400,)),
        ("/jobs/;ls", (400,)),
        ("/../../etc/passwd", (400,)),
        ("/jobs/x#y", (400,)),
        ("/jobs//x", (404,)),
        ("/?" + "a=1&" * 1900, (200,)),
        ("/jobs/queue/q?" + "&" * 7000 + "limit=0", (400,)),
        ("/?" + "x" * 9000, (414,)),
        ("/" + "x/" * 3500, (404,)),
    ],
    ids=range(20),
)
def test_a_url_of_any_form_is_answered(stack, path, expected):
    answer = raw(stack, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.status in expected, answer


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        *((name, 405) for name in ("TRACE", "OPTIONS", "PATCH", "MKCOL", "COPY", "LOCK", "PROPFIND", "QUERY", "G", "X" * 200, "M-SEARCH")),
        *((name, 400) for name in ("get", "GE T", "G\x01T", "GET\t", '"', "\x80", "<GET>")),
    ],
)
def test_any_method_is_answered_in_the_envelope(stack, method, expected):
    answer = raw(stack, f"{method} /groups HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert answer.status == expected
    if expected == 405:
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("".join(f"X-{i}: {i}\r\n" for i in range(500)), 200),
        ("".join(f"X-{i}: {'v' * 50}\r\n" for i in range(10_000)), 431),
        ("X: " + "y" * 8000 + "\r\n", 200),
        ("X" * 9000 + ": y\r\n", 431),
        ("REQUEST_METHOD: DELETE\r\nRequest-Method: DELETE\r\nProxy: evil\r\nRequest-Uri: /jobs/x\r\nContent-Length: 0\r\n", 200),
        ("X-Nul: a\0b\r\n", 400),
        ("No colon\r\n", 400),
        ("X-Fold: a\r\n b\r\n", 400),
        (": no name\r\n", 400),
    ],
    ids=range(9),
)
def test_headers_of_any_number_and_form_are_answered(stack, headers, expected):
    answer = raw(stack, f"GET / HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode())
    assert answer.status == expected, answer


def test_nothing_that_is_echoed_can_break_out_of_its_place(stack):
    """What a client sends comes back in messages only, as JSON; its request id does not come back at all."""
    evil = "x%0d%0aX-Evil:%201%0d%0a%0d%0a%3Cscript%3E%22"
    for path in (f"/jobs/{evil}", f"/tasks/{evil}/jobs", f"/jobs/queue/q?after={evil}", f"/tasks?sql={evil}", f"/{evil}"):
        for method in ("GET", "POST"):
            answer = stack.call(method, path, headers={"X-Request-Id": "mine"})
            assert "x-evil" not in answer.headers
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    task = 'a\r\nX-Evil: 1\u2028"\\'
    answer = stack.post("/groups", {"jobs": [{"task": task}]})
    assert answer.status == 404
    assert "x-evil" not in answer.headers
    assert not [line for line in stack.fcgi[0].log_text().splitlines() if line.startswith("X-Evil")]


def test_random_bytes_are_answered_or_refused(own, storm):
    """1,000 of them, some behind the beginning of a real request."""
    rng = random.Random(6)
    beginnings = (b"", b"GET ", b"POST /tasks/nothing_asked/jobs HTTP/1.1\r\nHost: x\r\n", post_text(b"x" * 50)[:-50])
    for i in range(1000):
        with connect(own) as s:
            s.sendall(beginnings[i % 4] + rng.randbytes(rng.randrange(1, 300)))
            s.shutdown(socket.SHUT_WR)
            assert is_closed(s)
