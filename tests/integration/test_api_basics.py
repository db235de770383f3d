"""Routes, methods and the envelope."""

import http.client
import json
import re
import socket

import pytest
from support import uid

ROUTES = [  # path, methods that it knows
    ("/", "GET, HEAD"),
    ("/tasks", "GET, HEAD"),
    ("/tasks/numbers/jobs", "POST"),
    ("/jobs/x", "GET, HEAD, DELETE"),
    ("/jobs/queue/x", "GET, HEAD"),
    ("/groups", "POST"),
    ("/groups/x", "GET, HEAD, DELETE"),
    ("/health", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/openapi.yaml", "GET, HEAD"),
]


def test_index_names_program_and_version(stack):
    answer = stack.get("/")
    assert answer.status == 200
    assert re.fullmatch(r"dungbeetle \d+\.\d+\.\d+", answer.data)


def test_tasks_are_listed_with_all_that_a_client_needs(stack):
    tasks = stack.get("/tasks").data
    assert {"numbers", "get_profit_summary", "no_tags"} <= set(tasks)
    assert tasks["echo"] == {
        "name": "echo",
        "queue": "default",
        "concurrency": 0,
        "dbs": ["ledger"],
        "results": ["reports"],
        "params": ["first", "second"],
        "description": "What was sent, as it was sent.",
    }
    assert tasks["top_users"]["queue"] == "reports"
    assert tasks["which_source"]["dbs"] == ["ledger", "mirror"]
    assert tasks["in_three"]["results"] == ["reports", "relaxed", "unlogged"]
    assert tasks["no_tags"]["dbs"] == ["ledger", "mirror", "odd"]


def test_task_sql_is_shown_only_when_it_is_asked_for(stack):
    assert all("raw" not in task for task in stack.get("/tasks").data.values())
    assert all("raw" not in task for task in stack.get("/tasks?sql=0").data.values())
    shown = stack.get("/tasks?sql=1").data
    assert shown["no_tags"]["raw"] == "SELECT 1 AS one"
    assert "generate_series" in shown["numbers"]["raw"]


def test_a_flag_that_is_neither_true_nor_false_is_400(stack):
    answer = stack.get("/tasks?sql=maybe")
    assert answer.status == 400
    assert "sql" in answer.message


def test_health_says_that_jobs_can_be_accepted(stack):
    answer = stack.get("/health")
    assert answer.status == 200
    assert answer.data["redis"] == "ok"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/task",
        "/tasks/numbers",
        "/tasks/numbers/job",
        "/jobs",
        "/jobs/a/b",
        "/jobs/queue/a/b",
        "/groups/a/b",
        "/tasks/numbers/jobs/x",
        "//tasks",
        "/Tasks",
        "/tasks/%2e%2e",
        "/a/b/c/d/e/f/g/h/i/j/k",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_route_is_404(stack, method, path):
    answer = stack.call(method, path, {} if method == "POST" else None)
    assert answer.status == 404
    assert "route" in answer.message


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        (method, path, allowed)
        for path, allowed in ROUTES
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE")
        if method not in allowed.split(", ")
    ],
)
def test_wrong_method_is_405_with_allow(stack, method, path, allowed):
    answer = stack.call(method, path, "{}" if method in ("POST", "PUT", "PATCH") else None)
    assert answer.status == 405
    assert sorted(answer.headers["allow"].split(", ")) == sorted(allowed.split(", "))


def test_head_is_get_without_a_body(stack):
    connection = http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=10)
    connection.request("HEAD", "/tasks")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert response.getheader("Content-Type") == "application/json; charset=utf-8"
    connection.close()


def test_a_slash_at_the_end_of_a_path_counts_for_nothing(stack):
    assert stack.get("/tasks/").data == stack.get("/tasks").data


@pytest.mark.parametrize("path", ["/jobs/%zz", "/jobs/a%00b", "/jobs/%"])
def test_broken_percent_encoding_is_400(stack, path):
    assert stack.get(path).status == 400


@pytest.mark.parametrize(
    "path", ["/jobs/a%20b", "/jobs/a.b", "/jobs/%C3%BC", "/groups/a'b", "/jobs/queue/a;b", f"/jobs/{'x' * 56}", "/jobs/a%2Fb"]
)
def test_a_name_that_cannot_be_is_400(stack, path):
    answer = stack.get(path)
    assert answer.status == 400
    assert "allowed" in answer.message


@pytest.mark.parametrize("path", ["/jobs/", "/groups/"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_job_or_group_is_404(stack, method, path):
    name = uid("unknown")
    answer = stack.call(method, path + name)
    assert answer.status == 404
    assert name in answer.message


def test_unknown_task_is_404(stack):
    answer = stack.post("/tasks/no_such_task/jobs", {})
    assert answer.status == 404
    assert "no_such_task" in answer.message


def test_request_id_is_returned_once(stack):
    answer = stack.get("/")
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert stack.get("/").headers["x-request-id"] != answer.headers["x-request-id"]


def test_answers_are_never_cached(stack):
    assert stack.get("/tasks").headers["cache-control"] == "no-store"


def test_many_requests_go_over_one_connection_in_their_order(stack):
    """Pipelined requests on one HTTP connection are answered one after the other, each whole."""
    with socket.create_connection(("127.0.0.1", stack.nginx.port), timeout=10) as s:
        s.sendall(
            b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/", b"/nothing", b"/health"))
            + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        text = b""
        while chunk := s.recv(65536):
            text += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", text) == [b"200", b"404", b"200", b"200"]
    bodies = re.findall(rb"^\{.*?\}(?=HTTP|$)", text, re.M | re.S)
    assert [json.loads(body)["status"] for body in bodies] == ["success", "error", "success", "success"]
