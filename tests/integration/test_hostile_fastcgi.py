"""The FastCGI socket with peers that are no nginx: whatever they send, the process lives on and serves the others."""

from __future__ import annotations

import errno
import json
import os
import pwd
import random
import socket
import struct
import time

import pytest
from fcgi_client import (
    ABORT_REQUEST,
    AUTHORIZER,
    BEGIN_REQUEST,
    FILTER,
    GET_VALUES,
    PARAMS,
    STDIN,
    begin,
    connect,
    is_closed,
    pairs,
    read_answer,
    read_to_end,
    record,
    request,
    send_what_goes,
)
from footprint import assert_no_growth, connections, footprint
from support import ROOT, SLOW, uid, wait_until

LIMIT = 1 << 20  # limits.body


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    return make_module_stack(pg=stack.pg_source, workers=0)


@pytest.fixture(autouse=True)
def _lives_on(own):
    pid = own.fcgi[0].pid
    before = footprint(own)
    yield
    assert (own.fcgi[0].alive(), own.fcgi[0].pid) == (True, pid), own.fcgi[0].log_tail()
    assert call(own, "GET", "/health")[0] == 200
    assert_no_growth(own, before)


def call(own, *args, **params):
    """Status, head and data of a request on a connection of its own."""
    with connect(own.fcgi_sockets[0]) as s:
        s.sendall(request(*args, **params))
        return parse(read_answer(s))


def parse(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("Status: ")
    return int(lines[0].split()[1]), lines[1:], json.loads(body) if body else None


FINE = begin() + record(PARAMS, pairs(REQUEST_METHOD="GET", REQUEST_URI="/"))
NO_FASTCGI = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 4096,
    "ones": b"\xff" * 4096,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "version 0": record(BEGIN_REQUEST, begin()[8:], version=0),
    "version 2": record(BEGIN_REQUEST, begin()[8:], version=2),
    "id 0": begin(request_id=0),
    "short begin": record(BEGIN_REQUEST, b"\0\1\0\0"),
    "long begin": record(BEGIN_REQUEST, b"\0\1" + b"\0" * 100),
    "no begin": FINE[16:],
    "begin twice": begin() + begin(),
    "role 0": begin(0),
    "authorizer": begin(AUTHORIZER) + FINE[16:] + record(PARAMS),
    "filter": begin(FILTER) + FINE[16:] + record(PARAMS) + record(STDIN) + record(8),
    "unknown role": begin(65535),
    "unknown type": begin() + record(99, b"x"),
    "abort at once": begin() + record(ABORT_REQUEST),
    "abort in parameters": FINE + record(ABORT_REQUEST),
    "get values": record(GET_VALUES, pairs(FCGI_MAX_CONNS="", FCGI_MPXS_CONNS=""), 0),
    "get values often": record(GET_VALUES, pairs(FCGI_MAX_CONNS="") * 4000, 0),
    "get values of a long name": record(GET_VALUES, pairs(**{"x" * 60000: ""}), 0),
    "unknown management": record(200, b"x" * 100, 0),
    "management in parameters": FINE + record(GET_VALUES, pairs(FCGI_MAX_CONNS="") * 8, 0),
    "stdin in parameters": FINE + record(STDIN, b"{}"),
    "another id": FINE + record(PARAMS, b"", 2),
    "two requests interleaved": begin() + begin(request_id=2) + record(PARAMS, b"", 2),
    "padded end of parameters": FINE + record(PARAMS, padding=255),
    "half a name": begin() + record(PARAMS, b"\x0e\1REQUEST") + record(PARAMS),
    "half a length": begin() + record(PARAMS, b"\x80\0") + record(PARAMS),
    "name without value": begin() + record(PARAMS, b"\1") + record(PARAMS),
    "length of 2^31 - 1 and 1": begin() + record(PARAMS, b"\xff\xff\xff\xff\1A"),
    "length of 2^31 - 2 and 1": begin() + record(PARAMS, b"\xff\xff\xff\xfe\1"),
    "lengths of 2^31 - 1": begin() + record(PARAMS, b"\xff" * 8),
    "lengths that add up to 2^31": begin() + record(PARAMS, b"\xc0\0\0\0\xc0\0\0\0"),
    "length of 1 GiB": begin() + record(PARAMS, b"\xc0\0\0\0\0"),
    "2 MiB of parameters": begin() + record(PARAMS, pairs(A="x" * 60000)) * 35,
}


@pytest.mark.parametrize("name", NO_FASTCGI)
def test_what_is_no_request_closes_the_connection_and_nothing_else(own, name):
    """While another connection, opened before, is served as if nothing were."""
    with connect(own.fcgi_sockets[0]) as other, connect(own.fcgi_sockets[0]) as s:
        send_what_goes(s, NO_FASTCGI[name])
        other.sendall(request())
        assert parse(read_answer(other))[0] == 200
        assert is_closed(s)


@pytest.mark.parametrize(
    "behind",
    [
        record(ABORT_REQUEST),
        record(GET_VALUES, pairs(FCGI_MAX_CONNS="") * 8, 0),
        record(GET_VALUES, b"\xff\xff\xff\xfe\1", 0),
        begin(request_id=2),
        record(STDIN, b"", 2),
        record(PARAMS, b"x"),
        record(77, b"x"),
        b"\0" * 100,
        record(STDIN, padding=200),
    ],
)
def test_a_body_that_goes_astray_enqueues_nothing_and_costs_the_connection(own, behind):
    """It is 400, or nothing when all came in one piece."""
    job_id = uid()
    text = request("POST", "/tasks/nothing_asked/jobs", json.dumps({"job_id": job_id}).encode())
    with connect(own.fcgi_sockets[0]) as s:
        send_what_goes(s, text[:-8] + behind)
        said = read_to_end(s)
    assert said is not None
    assert not said or b"Status: 400 " in said
    assert call(own, "GET", f"/jobs/{job_id}")[0] == 404


def test_thousands_of_broken_requests_do_no_harm(own):
    """A request with a byte changed, taken away or put in, cut short, or repeated: 3,000 of them, from a seed."""
    rng = random.Random(5)
    whole = request("POST", "/tasks/nothing_asked/jobs", b'{"queue": "nobody"}', REQUEST_ID="a" * 32, HTTP_X_LONG="y" * 300)
    for _ in range(3000):
        text = bytearray(whole)
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            at = rng.randrange(len(text) or 1)
            match rng.randrange(5):
                case 0:
                    text[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
                case 1:
                    del text[at : at + rng.choice((1, 2, 8))]
                case 2:
                    text[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
                case 3:
                    del text[at + 1 :]
                case 4:
                    text += text[:at]
        with connect(own.fcgi_sockets[0]) as s:
            send_what_goes(s, text)
            assert is_closed(s)


def test_a_second_request_in_the_same_breath_costs_the_connection_and_not_the_first(own):
    with connect(own.fcgi_sockets[0]) as s:
        s.sendall(request() + request("GET", "/health"))
        assert parse(read_answer(s))[0] == 200
        assert is_closed(s)


def test_padding_and_small_records_change_nothing(own):
    params = pairs(REQUEST_METHOD="POST", REQUEST_URI="/tasks/echo/jobs", CONTENT_LENGTH="8")
    text = begin() + b"".join(record(PARAMS, params[i : i + 1], padding=i % 256) for i in range(len(params))) + record(PARAMS)
    text += b"".join(record(STDIN, bytes([c]), padding=255) for c in b'{"eta":5') + record(STDIN)
    with connect(own.fcgi_sockets[0]) as s:
        for i in range(0, len(text), 1000):
            s.sendall(text[i : i + 1000])
        status, _, answer = parse(read_answer(s))
    assert status == 400
    assert "ends in the middle" in answer["message"]


def test_many_parameters_are_taken(own):
    assert call(own, **{f"HTTP_X_{i}": "v" * 50 for i in range(5000)})[0] == 200


@pytest.mark.parametrize(("more", "expected"), [(0, 200), (1, 413), (4 << 20, 413)])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_may_be_as_long_as_the_limit_and_no_longer(own, more, expected, declared):
    """nginx's own limit is not in the way here."""
    fields = json.dumps({"queue": uid("nobody"), "unknown": ""})
    body = fields[:-2].encode() + b"z" * (LIMIT + more - len(fields)) + b'"}'
    assert len(body) == LIMIT + more
    status, _, answer = call(own, "POST", "/tasks/nothing_asked/jobs", body, **({} if declared else {"CONTENT_LENGTH": ""}))
    assert status == expected, answer
    if expected == 413:
        assert answer == {"status": "error", "message": "the request body is too large", "data": None}


@pytest.mark.parametrize(
    ("length", "expected"), [("3", 400), ("1000", 400), ("99999999999", 413), ("99999999999999999999", 200), ("-1", 200), ("x", 200)]
)
def test_a_content_length_is_not_believed(own, length, expected):
    """One that is too long is an error, one that is none is passed over; the body is what came."""
    assert call(own, "POST", "/tasks/nothing_asked/jobs", b"{}", CONTENT_LENGTH=length)[0] == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "400 the path of the URL must begin with /"),
        ("x", "400 the path of the URL must begin with /"),
        ("http://x/", "400 the path of the URL must begin with /"),
        ("*", "400 the path of the URL must begin with /"),
        ("/" + "x" * 20_000, "400 the path of the URL is longer than 16384 bytes"),
        ("/" * 20_000, "400 the path of the URL is longer than 16384 bytes"),
        ("/%zz", "400 the percent-encoding of the URL's path is broken"),
        ("/?" + "x" * 500_000, "200 "),
        ("/?" + "&" * 500_000, "200 "),
    ],
    ids=range(9),
)
def test_a_request_uri_of_any_form_and_length_is_answered(own, uri, expected):
    status, _, answer = call(own, "GET", uri)
    assert f"{status} {answer.get('message', '')}" == expected


def test_nothing_that_is_echoed_can_break_out_of_its_place(own):
    evil = "x\r\nX-Evil: 1\r\n\r\n<script>"
    status, head, answer = call(own, "GET", "/jobs/x", REQUEST_ID=evil, HTTP_X_REQUEST_ID=evil)
    assert status == 404
    assert not [line for line in head if line.startswith(("X-Evil", "X-Request-Id"))]
    assert call(own, evil, "/")[0] == 405
    status, head, answer = call(own, "POST", "/tasks/a%0d%0aX-Evil:%201%22%5c%00b/jobs")
    assert status == 400
    status, head, answer = call(own, "POST", "/tasks/a%0d%0aX-Evil:%201%22%5c%ffb/jobs")
    assert (status, answer["message"]) == (404, "no such task 'a  X-Evil: 1\"\\?b'")
    assert not [line for line in head if line.startswith("X-Evil")]
    assert "X-Evil: 1" not in [line.strip() for line in own.fcgi[0].log_text().splitlines()]


def test_half_a_request_is_given_up_within_seconds(own):
    """In the header, in the parameters, in the body; silent, or with a byte now and then. The one that reads it waits, others serve."""
    whole = request("POST", "/tasks/nothing_asked/jobs", b"{}")
    silent = [connect(own.fcgi_sockets[0]) for _ in range(2)]
    for s, text in zip(silent, (whole[:5], whole[:40])):
        s.sendall(text)
    began = time.monotonic()
    assert call(own, "GET", "/health")[0] == 200
    assert all(is_closed(s) for s in silent)
    assert time.monotonic() - began < 20 * SLOW
    with connect(own.fcgi_sockets[0]) as dripping:
        began = time.monotonic()
        closed = False
        for i in range(len(whole)):
            try:
                dripping.sendall(whole[i : i + 1])
            except (BrokenPipeError, ConnectionResetError):
                closed = True
                break
            time.sleep(0.25)  # slow is what this peer is
        assert closed
        assert time.monotonic() - began < 20 * SLOW
    for s in silent:
        s.close()


def test_whoever_does_not_read_its_answer_is_given_up(own):
    queue = uid("nobody")
    body = json.dumps({"jobs": [{"task": "nothing_asked", "queue": queue}] * 1000}).encode()
    assert call(own, "POST", "/groups", body)[0] == 200
    with connect(own.fcgi_sockets[0]) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(request("GET", f"/jobs/queue/{queue}?limit=1000"))
        assert call(own, "GET", "/health")[0] == 200
        wait_until(lambda: connections(own) == 0, 30 * SLOW, "end of the connection", [own.fcgi[0]])


def test_peers_that_go_away_at_any_moment_leave_nothing_behind(own):
    whole = request("POST", "/tasks/nothing_asked/jobs", b'{"queue": "nobody"}')
    for i in range(2000):
        s = connect(own.fcgi_sockets[0])
        s.sendall(whole[: i % (len(whole) + 1)])
        if i % 3 == 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()


def test_hundreds_of_idle_connections_cost_only_their_descriptors(own):
    idle = [connect(own.fcgi_sockets[0]) for _ in range(800)]
    for s in idle[::2]:
        s.sendall(request())
    for s in idle[::2]:
        assert parse(read_answer(s))[0] == 200
    assert call(own, "GET", "/health")[0] == 200
    for s in idle:
        s.close()


def test_only_the_owner_and_the_group_of_the_socket_reach_it(own):
    """As the samples have it: mode 0660, the group is nginx's; a process that ends by a bug is started again."""
    socket_unit = (ROOT / "deploy/systemd/dungbeetle-fcgi.socket").read_text()
    assert {"SocketUser=root", "SocketGroup=www-data", "SocketMode=0660"} <= set(socket_unit.splitlines())
    assert "Restart=on-failure" in (ROOT / "deploy/systemd/dungbeetle-fcgi.service").read_text().splitlines()
    mode = own.fcgi_sockets[0].stat().st_mode & 0o777
    assert mode == 0o660
    if os.geteuid() == 0:  # else there is no other user to try it as
        child = os.fork()
        if child == 0:
            os._exit(connects_as_nobody(own.fcgi_sockets[0]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EACCES


def connects_as_nobody(path):
    """The error number of a try; 0: it got through."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    try:
        connect(path).close()
    except OSError as failed:
        return failed.errno
    return 0
