"""POST /tasks/{task}/jobs, GET and DELETE /jobs/{id}: what is accepted, what is refused and why."""

import json
import re
from datetime import datetime, timedelta, timezone

import pytest
from support import SLOW, ZERO_TIME, uid, wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def post(stack, task="echo", **fields):
    return stack.post(f"/tasks/{task}/jobs", {"args": ["a", "b"], **fields})


def unserved(stack, task="echo", **fields):
    """A job in a queue that no worker serves: it stays PENDING."""
    answer = post(stack, task, queue=fields.pop("queue", uid("nobody")), **fields)
    assert answer.status == 200, answer
    return answer.data["job_id"]


def test_a_job_is_accepted_and_ends_in_success(stack):
    job_id = uid()
    answer = post(stack, job_id=job_id)
    assert answer.status == 200
    assert answer.data == {"job_id": job_id, "task": "echo", "queue": "default", "eta": ZERO_TIME, "retries": 0}
    job = stack.wait(job_id)
    assert list(job)[:4] == ["job_id", "state", "count", "error"]
    assert {
        "job_id": job_id,
        "state": "SUCCESS",
        "count": 1,
        "error": "",
        "task": "echo",
        "queue": "default",
        "attempt": 1,
        "worker": "worker-0",
    }.items() <= job.items()
    assert job["results"] == {"db": "reports", "table": f"results_{job_id}"}
    times = [datetime.fromisoformat(job[name].replace("Z", "+00:00")) for name in ("queued_at", "started_at", "finished_at")]
    assert times == sorted(times)
    assert abs(times[0] - datetime.now(timezone.utc)) < timedelta(seconds=30)


@pytest.mark.parametrize("body", ["", "{}", "null", '{"args": null}', '{"args": []}', " \n{ }\t"])
def test_everything_in_a_job_request_is_optional(stack, body):
    answer = stack.post("/tasks/nothing_asked/jobs", body)
    assert answer.status == 200
    assert re.fullmatch(UUID, answer.data["job_id"])
    assert stack.wait(answer.data["job_id"])["state"] == "SUCCESS"


def test_an_absent_job_id_is_made_and_is_another_one_each_time(stack):
    ids = {post(stack).data["job_id"] for _ in range(5)}
    assert len(ids) == 5
    for job_id in ids:
        assert stack.wait(job_id)["state"] == "SUCCESS"


def test_the_go_clients_body_with_every_field_at_its_zero_value_is_accepted(stack):
    body = '{"task":"echo","job_id":"","queue":"","eta":"","retries":0,"ttl":0,"args":null,"db":""}'
    answer = stack.post("/tasks/nothing_asked/jobs", body)
    assert answer.status == 200
    assert {"task": "nothing_asked", "queue": "default", "eta": ZERO_TIME, "retries": 0}.items() <= answer.data.items()
    assert stack.wait(answer.data["job_id"])["state"] == "SUCCESS"


def test_unknown_fields_are_ignored(stack):
    answer = post(stack, job_id=(job_id := uid()), future={"a": [1, 2]}, another=None)
    assert answer.status == 200
    assert stack.wait(job_id)["state"] == "SUCCESS"


def test_null_counts_as_absent(stack):
    answer = stack.post(
        "/tasks/nothing_asked/jobs", {name: None for name in ("job_id", "queue", "db", "eta", "retries", "ttl", "timeout", "args")}
    )
    assert answer.status == 200
    assert stack.wait(answer.data["job_id"])["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("job_id", 1, "string"),
        ("job_id", "a b", "allowed"),
        ("job_id", "a.b", "allowed"),
        ("job_id", "a'; DROP TABLE x; --", "allowed"),
        ("job_id", "ü", "allowed"),
        ("job_id", "x" * 56, "55"),
        ("job_id", "a\nb", "allowed"),
        ("job_id", "a\0b", "allowed"),
        ("job_id", [], "string"),
        ("queue", 5, "string"),
        ("queue", "a/b", "allowed"),
        ("queue", "q" * 129, "128"),
        ("queue", {}, "string"),
        ("db", "nowhere", "ledger"),
        ("db", 1, "string"),
        ("db", "mirror", "ledger"),
        ("eta", "tomorrow", "yyyy-mm-dd"),
        ("eta", "2030-02-30 00:00:00", "yyyy-mm-dd"),
        ("eta", "2030-01-01", "yyyy-mm-dd"),
        ("eta", 1893456000, "string"),
        ("eta", "2030-01-01 25:00:00", "yyyy-mm-dd"),
        ("eta", "2030-01-01 00:00:00 ", "yyyy-mm-dd"),
        ("eta", "2030-01-01 00:00:00\0", "yyyy-mm-dd"),
        ("retries", -1, "0 to"),
        ("retries", "1", "number"),
        ("retries", 1.5, "number"),
        ("retries", 10**9, "0 to"),
        ("retries", True, "number"),
        ("ttl", -1, "0 to"),
        ("ttl", "1h", "number"),
        ("ttl", 10**15, "0 to"),
        ("ttl", 2**63 - 1, "0 to"),
        ("timeout", -1, "0 to"),
        ("timeout", [], "number"),
        ("timeout", 10**15, "0 to"),
        ("args", "a", "array"),
        ("args", {"a": 1}, "array"),
        ("args", ["a", ["b"]], "args[1]"),
        ("args", [{}, "b"], "args[0]"),
        ("args", ["a", "b\0c"], "args[1]"),
        ("args", ["x"] * 101, "100"),
        ("args", ["a", "x" * (64 * 1024 + 1)], "args[1]"),
    ],
)
def test_an_invalid_field_is_400_and_named(stack, field, value, says):
    before = stack.r.xlen(stack.key("queue:default"))
    answer = post(stack, **{field: value})
    assert answer.status == 400, answer
    assert field in answer.message
    assert says in answer.message
    assert stack.r.xlen(stack.key("queue:default")) <= before


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"job_id": "x"',
        "[]",
        '"text"',
        "5",
        "true",
        '{"job_id": "x",}',
        "{'job_id': 'x'}",
        '{"args": [01]}',
        '{"args": [NaN]}',
        '{"args": [1.]}',
        "nonsense",
        "{} {}",
        '{"a": "\x01"}',
        '{"args": [18446744073709551616, 1]}',
        b'{"job_id": "\xff"}',
        b'{"args": ["\xc0\xaf", "\xed\xa0\x80"]}',
        b"{}\0",
        "{" * 5 + "}" * 4,
        '{"args": ' + "[" * 17 + "]" * 17 + "}",
        '{"retries": 1e2}',
        '{"retries": 0x10}',
        "\ufeff{}x",
    ],
)
def test_a_body_that_is_no_json_object_is_400(stack, body):
    answer = stack.post("/tasks/nothing_asked/jobs", body)
    assert answer.status == 400, answer


def test_deeply_nested_json_is_400_and_not_a_crash(stack):
    answer = stack.post("/tasks/nothing_asked/jobs", '{"a":' * 50_000 + "1" + "}" * 50_000)
    assert answer.status == 400
    assert "nested" in answer.message
    assert stack.get("/health").status == 200


@pytest.mark.parametrize("job_id", ["x" * 55, "-", "_", ":", "a:b-c_D:9", "0", "results_x", "Select", "--" + "Z" * 53])
def test_a_job_id_at_the_limits_has_a_readable_table(stack, job_id):
    stack.succeed("numbers", 2, job_id=job_id)
    assert stack.rows(job_id) == [(1, "number 1"), (2, "number 2")]
    assert stack.delete(f"/jobs/{job_id}?purge=true").status == 200


def test_ids_that_differ_in_case_only_do_not_share_a_table(stack):
    name = uid("Case")
    stack.succeed("echo", "lower", "x", job_id=name.lower())
    stack.succeed("echo", "upper", "x", job_id=name.upper())
    assert stack.rows(name.lower())[0][0] == "lower"
    assert stack.rows(name.upper())[0][0] == "upper"


def test_ids_that_differ_in_the_last_character_do_not_share_a_table(stack):
    first, second = "y" * 54 + "1", "y" * 54 + "2"
    stack.succeed("echo", "first", "x", job_id=first)
    stack.succeed("echo", "second", "x", job_id=second)
    assert [stack.rows(name)[0][0] for name in (first, second)] == ["first", "second"]


def test_db_chooses_the_source(stack):
    for name in ("ledger", "mirror"):
        assert stack.run("which_source", db=name)["state"] == "SUCCESS"
    answer = stack.post("/tasks/which_source/jobs", {"db": "odd"})
    assert answer.status == 400
    assert "ledger, mirror" in answer.message


def test_the_requests_queue_comes_before_the_tasks(stack):
    assert stack.post("/tasks/top_users/jobs", {"args": ["3"]}).data["queue"] == "reports"
    assert stack.post("/tasks/top_users/jobs", {"args": ["3"], "queue": "two"}).data["queue"] == "two"


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["text", "x"], ("text", "x", False, False)),
        ([1, -2.5], ("1", "-2.5", False, False)),
        ([True, False], ("true", "false", False, False)),
        ([None, ""], (None, "", True, False)),
        ([12345678901234567890, 1e3], ("12345678901234567890", "1000.0", False, False)),
        (["1.10e5", "NULL"], ("1.10e5", "NULL", False, False)),
    ],
)
def test_arguments_of_every_json_type_arrive_as_they_were_written(stack, args, found):
    assert stack.rows(stack.succeed("echo", *args)) == [found]


def test_the_digits_of_a_number_are_kept(stack):
    job_id = uid()
    assert stack.post("/tasks/echo/jobs", f'{{"job_id": "{job_id}", "args": [0.10000000000000000000001, 1E+2]}}').status == 200
    stack.wait(job_id)
    assert stack.rows(job_id)[0][:2] == ("0.10000000000000000000001", "1E+2")


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE users; --",
        "\\'; DELETE FROM entries; --",
        "$1",
        "%s%n",
        "\\x00",
        "a\"b'c`d",
        "line\nline\ttab\r\\",
        "𝄞 ünï 日本語",
        "\u202e\ufeff\u200b",
        "1); DROP TABLE dungbeetle_results; --",
        "$$; SELECT 1; $$",
        "\\.",
        "\\N",
        "x" * 65536,
        "a\u0001b",
        "/*",
        "--",
    ],
)
def test_an_argument_is_data_whatever_it_looks_like(stack, text):
    assert stack.rows(stack.succeed("echo", text, "'" + text[:100]))[0][:2] == (text, "'" + text[:100])
    assert stack.query("SELECT count(*) FROM users", db="ledger") == [(20,)]


def test_arguments_become_the_types_that_the_query_names(stack):
    job_id = stack.succeed("echo_typed", 9223372036854775807, "12345678901234567890.12345", True, "2024-02-29", "{1,NULL,3}", '{"a": [1]}')
    (row,) = stack.rows(job_id)
    assert [str(value) for value in row] == [
        "9223372036854775807",
        "12345678901234567890.12345",
        "True",
        "2024-02-29",
        "[1, None, 3]",
        "{'a': [1]}",
    ]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_wrong_number_of_arguments_is_accepted_and_fails_at_once_without_a_database(stack, number):
    job_id = uid()
    answer = stack.post("/tasks/echo/jobs", {"job_id": job_id, "args": ["x"] * number})
    assert answer.status == 200
    job = stack.job(job_id)  # at once: nothing is waited for
    assert job["state"] == "FAILURE"
    assert job["error"] == f"task 'echo' takes 2 arguments (first, second), got {number}"
    assert job["attempt"] == 0
    assert not stack.has_table(job_id)
    assert stack.registry(job_id) is None


def test_a_pending_or_running_id_is_409(stack):
    job_id = uid()
    queue = uid("nobody")
    unserved(stack, job_id=job_id, queue=queue)
    for _ in range(2):
        answer = post(stack, job_id=job_id)
        assert answer.status == 409
        assert job_id in answer.message
    assert len(stack.get(f"/jobs/queue/{queue}").data) == 1
    running = stack.submit("sleep", 30)
    stack.wait(running, states=["STARTED"])
    assert post(stack, job_id=running).status == 409
    for name in (job_id, running):
        assert stack.delete(f"/jobs/{name}").data is True


def test_a_finished_id_can_be_posted_again(stack):
    job_id = stack.succeed("echo", "one", "x")
    stack.succeed("echo", "two", "x", job_id=job_id)
    assert stack.rows(job_id)[0][0] == "two"


def test_deleting_a_pending_job_forgets_it(stack):
    job_id, queue = uid(), uid("nobody")
    unserved(stack, job_id=job_id, queue=queue)
    assert stack.job(job_id)["state"] == "PENDING"
    assert stack.delete(f"/jobs/{job_id}").data is True
    assert stack.get(f"/jobs/{job_id}").status == 404
    assert stack.get(f"/jobs/queue/{queue}").data == []
    assert stack.delete(f"/jobs/{job_id}").status == 404


def test_a_deleted_pending_job_never_runs_even_if_its_slot_comes(stack):
    holder = stack.submit("sleep", 0.5, queue="one")
    job_id = stack.submit("echo", "a", "b", queue="one")
    last = stack.submit("echo", "a", "b", queue="one")
    assert stack.delete(f"/jobs/{job_id}").status == 200
    for name in (holder, last):
        assert stack.wait(name)["state"] == "SUCCESS"
    assert not stack.has_table(job_id)
    assert stack.get(f"/jobs/{job_id}").status == 404


def test_deleting_a_running_job_stops_its_query_within_a_second(stack):
    job_id = stack.submit("sleep", 60)
    wait_until(lambda: stack.running_query(job_id), 10 * SLOW, "the query")
    assert stack.delete(f"/jobs/{job_id}").data is True
    wait_until(lambda: not stack.running_query(job_id), 1, "end of the query")
    assert stack.get(f"/jobs/{job_id}").status == 404
    assert not stack.has_table(job_id)


def test_a_deleted_id_can_be_used_again_at_once(stack):
    job_id = stack.submit("sleep", 60)
    wait_until(lambda: stack.running_query(job_id), 10 * SLOW, "the query")
    assert stack.delete(f"/jobs/{job_id}").status == 200
    stack.succeed("numbers", 3, job_id=job_id)
    assert stack.count(job_id) == 3
    wait_until(lambda: not stack.r.hexists(stack.key("purges"), job_id), 5 * SLOW, "the old run's purge")
    assert stack.count(job_id) == 3  # the first run's purge has not taken the second one's table


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_deleting_a_finished_job_is_409_unless_purged(stack, state):
    job_id = stack.submit("divide", 5 if state == "SUCCESS" else 0)
    assert stack.wait(job_id)["state"] == state
    answer = stack.delete(f"/jobs/{job_id}")
    assert answer.status == 409
    assert job_id in answer.message
    assert stack.job(job_id)["state"] == state
    assert stack.delete(f"/jobs/{job_id}?purge=true").data is True
    assert stack.get(f"/jobs/{job_id}").status == 404


def test_purge_drops_the_result_table_within_five_seconds(stack):
    job_id = stack.succeed("numbers", 10)
    assert stack.has_table(job_id)
    assert stack.delete(f"/jobs/{job_id}?purge=true").status == 200
    wait_until(lambda: not stack.has_table(job_id), 5, "drop of the table")
    row = stack.registry(job_id)
    assert row is None or row["table_name"] is None


def test_purge_of_a_job_that_waits_drops_the_older_result_of_its_id(stack):
    job_id = stack.succeed("numbers", 10)
    stack.submit("numbers", 20, job_id=job_id, eta="2090-01-01 00:00:00")
    assert stack.job(job_id)["state"] == "PENDING"
    assert stack.has_table(job_id)
    assert stack.delete(f"/jobs/{job_id}?purge=true").status == 200
    wait_until(lambda: not stack.has_table(job_id), 5, "drop of the table")
    assert stack.succeed("numbers", 30, job_id=job_id) == job_id  # the id is as good as new
    assert stack.count(job_id) == 30


@pytest.mark.parametrize("purge", ["", "?purge=false", "?purge=0"])
def test_purge_is_off_when_it_is_not_asked_for(stack, purge):
    job_id = stack.succeed("nothing_asked")
    assert stack.delete(f"/jobs/{job_id}{purge}").status == 409


def test_purge_that_is_no_flag_is_400(stack):
    job_id = stack.succeed("nothing_asked")
    answer = stack.delete(f"/jobs/{job_id}?purge=perhaps")
    assert answer.status == 400
    assert "purge" in answer.message
    assert stack.job(job_id)["state"] == "SUCCESS"


def test_retries_and_eta_are_told_back(stack):
    queue = uid("nobody")
    answer = post(stack, queue=queue, retries=7, eta="2033-04-05 06:07:08")
    assert {"queue": queue, "retries": 7, "eta": "2033-04-05T06:07:08Z"}.items() <= answer.data.items()
    assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200
    assert stack.post("/tasks/timed_retries/jobs", {"args": ["0"]}).data["retries"] == 2


@pytest.mark.parametrize(
    ("eta", "told"),
    [
        ("2033-04-05 06:07:08", "2033-04-05T06:07:08Z"),
        ("2033-04-05T06:07:08Z", "2033-04-05T06:07:08Z"),
        ("2033-04-05T06:07:08.25Z", "2033-04-05T06:07:08.250Z"),
        ("2033-04-05T06:07:08+05:30", "2033-04-05T00:37:08Z"),
        ("2033-04-05T06:07:08-08:00", "2033-04-05T14:07:08Z"),
        ("2032-02-29 23:59:59", "2032-02-29T23:59:59Z"),
    ],
)
def test_eta_formats(stack, eta, told):
    answer = post(stack, eta=eta)
    assert answer.status == 200
    assert answer.data["eta"] == told
    assert stack.job(answer.data["job_id"])["state"] == "PENDING"
    assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200


def test_an_eta_in_the_past_is_now(stack):
    job_id = stack.submit("nothing_asked", eta="2001-01-01 00:00:00")
    assert stack.wait(job_id)["state"] == "SUCCESS"


def test_reject_wrong_args_answers_400_and_enqueues_nothing(stack, make_stack):
    strict = make_stack(pg=stack.pg_source, config={"jobs": {"reject_wrong_args": True}}, workers=0)
    job_id = uid()
    answer = strict.post("/tasks/echo/jobs", {"job_id": job_id, "args": ["x"]})
    assert answer.status == 400
    assert "takes 2 arguments (first, second), got 1" in answer.message
    assert strict.get(f"/jobs/{job_id}").status == 404
    answer = strict.post("/groups", {"jobs": [{"task": "nothing_asked"}, {"task": "echo"}]})
    assert answer.status == 400
    assert "jobs[1]" in answer.message
    assert strict.r.keys(strict.key("job:*")) == []


def test_limits_of_the_configuration_are_kept(stack, make_stack):
    limits = {"body": "2KiB", "args": 3, "arg_bytes": "100B", "group_jobs": 2, "json_depth": 4}
    small = make_stack(pg=stack.pg_source, config={"limits": limits}, workers=0)
    answer = small.post("/tasks/echo/jobs", {"args": ["x" * 90] * 30})
    assert answer.status == 413
    assert small.post("/tasks/echo/jobs", {"args": ["x"] * 4}).status == 400
    assert small.post("/tasks/echo/jobs", {"args": ["x" * 101, "y"]}).status == 400
    assert small.post("/tasks/echo/jobs", '{"a": [[[[1]]]], "args": ["x", "y"]}').status == 400
    answer = small.post("/groups", {"jobs": [{"task": "nothing_asked"}] * 3})
    assert answer.status == 400
    assert "jobs" in answer.message
    assert "2" in answer.message
    assert small.post("/tasks/echo/jobs", {"args": ["x" * 100, "y"]}).status == 200


def test_a_job_is_accepted_once_when_posted_many_times_at_once(stack):
    """Of requests that arrive together for one id, exactly one is accepted."""
    from concurrent.futures import ThreadPoolExecutor

    job_id, queue = uid(), uid("nobody")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(stack, job_id=job_id, queue=queue).status, range(24)))
    assert sorted(answers) == [200] + [409] * 23
    assert stack.delete(f"/jobs/{job_id}").status == 200


def test_error_texts_of_databases_are_valid_json_whatever_they_hold(stack):
    job = stack.fail("echo_typed", 'ü"\n\\\u0001', 1, True, "2024-01-01", "{}", "{}")
    assert "ü" in job["error"]
    json.dumps(job)
