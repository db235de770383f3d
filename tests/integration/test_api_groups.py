"""POST /groups, GET and DELETE /groups/{id}."""

import re

import pytest
from support import SLOW, ZERO_TIME, uid, wait_until
from test_api_jobs import UUID


def post_group(stack, jobs, **fields):
    answer = stack.post("/groups", {"group_id": uid("group"), "jobs": jobs, **fields})
    assert answer.status == 200, answer
    return answer.data["group_id"], [job["job_id"] for job in answer.data["jobs"]]


def wait_group(stack, group_id, states=("SUCCESS", "FAILURE"), timeout=30):
    def look():
        data = stack.get(f"/groups/{group_id}").data
        return data if data["state"] in states else None

    return wait_until(look, timeout * SLOW, f"group {group_id} {states}")


def overlap(spans):
    """The most spans (begin, end) that have a moment in common."""
    events = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in events:
        now += step
        most = max(most, now)
    return most


def test_a_group_is_accepted_with_all_its_jobs(stack):
    group_id, job_id = uid("group"), uid()
    answer = stack.post(
        "/groups",
        {
            "group_id": group_id,
            "jobs": [{"task": "echo", "job_id": job_id, "args": ["a", "b"]}, {"task": "nothing_asked", "queue": "two", "retries": 2}],
        },
    )
    assert answer.status == 200
    assert list(answer.data) == ["group_id", "jobs"]
    assert answer.data["group_id"] == group_id
    first, second = answer.data["jobs"]
    assert first == {"job_id": job_id, "task": "echo", "queue": "default", "eta": ZERO_TIME, "retries": 0}
    assert re.fullmatch(UUID, second["job_id"])
    assert {"task": "nothing_asked", "queue": "two", "retries": 2}.items() <= second.items()
    group = wait_group(stack, group_id)
    assert list(group) == ["group_id", "state", "jobs"]
    assert group["state"] == "SUCCESS"
    assert [job["job_id"] for job in group["jobs"]] == [job_id, second["job_id"]]
    for job in group["jobs"]:
        assert job["state"] == "SUCCESS"
        assert job["group_id"] == group_id
        assert stack.count(job["job_id"]) == 1


def test_the_go_clients_group_body_is_accepted(stack):
    body = '{"group_id":"","concurrency":0,"jobs":[{"task":"nothing_asked","job_id":"","queue":"","eta":"","retries":0,"ttl":0,"args":null,"db":""}]}'
    answer = stack.post("/groups", body)
    assert answer.status == 200
    assert re.fullmatch(UUID, answer.data["group_id"])
    assert wait_group(stack, answer.data["group_id"])["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": None}, "jobs"),
        ({"jobs": {}}, "array"),
        ({"jobs": [1]}, "jobs[0]"),
        ({"jobs": [{}]}, "jobs[0].task"),
        ({"jobs": [{"task": "nothing_asked"}, {"task": 5}]}, "jobs[1].task"),
        ({"jobs": [{"task": "nothing_asked", "job_id": "a b"}]}, "jobs[0].job_id"),
        ({"jobs": [{"task": "nothing_asked"}, {"task": "nothing_asked", "job_id": "x" * 56}]}, "jobs[1].job_id"),
        ({"jobs": [{"task": "nothing_asked", "eta": "soon"}]}, "jobs[0].eta"),
        ({"jobs": [{"task": "nothing_asked", "retries": -1}]}, "jobs[0].retries"),
        ({"jobs": [{"task": "nothing_asked", "db": "x"}]}, "jobs[0].db"),
        ({"jobs": [{"task": "echo", "args": [[]]}]}, "jobs[0].args"),
        ({"group_id": "a b", "jobs": [{"task": "nothing_asked"}]}, "group_id"),
        ({"group_id": 5, "jobs": [{"task": "nothing_asked"}]}, "group_id"),
        ({"group_id": "g" * 129, "jobs": [{"task": "nothing_asked"}]}, "group_id"),
        ({"concurrency": -1, "jobs": [{"task": "nothing_asked"}]}, "concurrency"),
        ({"concurrency": "2", "jobs": [{"task": "nothing_asked"}]}, "concurrency"),
        ({"jobs": [{"task": "nothing_asked", "job_id": "twin"}, {"task": "nothing_asked", "job_id": "twin"}]}, "twin"),
        ({"jobs": [{"task": "nothing_asked"}] * 1001}, "1000"),
    ],
)
def test_an_invalid_group_is_400_and_says_which_field_of_which_job(stack, body, says):
    answer = stack.post("/groups", body)
    assert answer.status == 400, answer
    assert says in answer.message


def test_an_unknown_task_in_a_group_is_404_and_says_where(stack):
    answer = stack.post("/groups", {"jobs": [{"task": "nothing_asked"}, {"task": "nope"}]})
    assert answer.status == 404
    assert "jobs[1]" in answer.message
    assert "nope" in answer.message


def test_a_group_is_all_or_nothing(stack):
    queue, taken = uid("nobody"), uid()
    stack.submit("nothing_asked", job_id=taken, queue=queue)
    group_id, other = uid("group"), uid()
    answer = stack.post(
        "/groups", {"group_id": group_id, "jobs": [{"task": "nothing_asked", "job_id": other}, {"task": "nothing_asked", "job_id": taken}]}
    )
    assert answer.status == 409
    assert taken in answer.message
    assert stack.get(f"/jobs/{other}").status == 404
    assert stack.get(f"/groups/{group_id}").status == 404
    assert stack.delete(f"/jobs/{taken}").status == 200


def test_a_group_id_that_has_not_ended_is_409_and_can_be_used_again_later(stack):
    queue = uid("nobody")
    group_id, _ = post_group(stack, [{"task": "nothing_asked", "queue": queue}])
    answer = stack.post("/groups", {"group_id": group_id, "jobs": [{"task": "nothing_asked"}]})
    assert answer.status == 409
    assert group_id in answer.message
    assert stack.delete(f"/groups/{group_id}").data is True
    for _ in range(2):
        assert stack.post("/groups", {"group_id": group_id, "jobs": [{"task": "nothing_asked"}]}).status == 200
        assert wait_group(stack, group_id)["state"] == "SUCCESS"


def test_group_states(stack):
    """PENDING until a job has begun, STARTED until all have ended, FAILURE when one failed, else SUCCESS."""
    queue = uid("nobody")
    group_id, (pending,) = post_group(stack, [{"task": "nothing_asked", "queue": queue}])
    assert stack.get(f"/groups/{group_id}").data["state"] == "PENDING"
    assert stack.delete(f"/groups/{group_id}").status == 200

    group_id, (fails, sleeps) = post_group(stack, [{"task": "divide", "args": ["0"]}, {"task": "sleep", "args": ["30"]}])
    stack.wait(fails)
    stack.wait(sleeps, states=["STARTED"])
    assert stack.get(f"/groups/{group_id}").data["state"] == "STARTED"
    assert stack.delete(f"/jobs/{sleeps}").status == 200
    assert stack.get(f"/groups/{group_id}").data["state"] == "FAILURE"

    group_id, _ = post_group(stack, [{"task": "nothing_asked"}] * 3)
    assert wait_group(stack, group_id)["state"] == "SUCCESS"

    group_id, _ = post_group(stack, [{"task": "nothing_asked"}, {"task": "divide", "args": ["0"]}])
    assert wait_group(stack, group_id)["state"] == "FAILURE"


def test_a_group_all_of_whose_jobs_have_a_wrong_number_of_arguments_is_failure_at_once(stack):
    group_id, jobs = post_group(stack, [{"task": "echo"}, {"task": "echo", "args": ["1"]}])
    group = stack.get(f"/groups/{group_id}").data
    assert group["state"] == "FAILURE"
    assert all("takes 2 arguments" in job["error"] for job in group["jobs"])


def test_a_group_with_one_wrong_job_still_runs_the_others(stack):
    group_id, (wrong, right) = post_group(stack, [{"task": "echo"}, {"task": "nothing_asked"}])
    assert wait_group(stack, group_id)["state"] == "FAILURE"
    assert stack.job(wrong)["state"] == "FAILURE"
    assert stack.job(right)["state"] == "SUCCESS"


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_never_more_of_a_group_run_than_its_concurrency(stack, concurrency):
    group_id, jobs = post_group(stack, [{"task": "span", "args": ["0.05"]} for _ in range(9)], concurrency=concurrency)
    assert wait_group(stack, group_id)["state"] == "SUCCESS"
    spans = [stack.rows(job)[0] for job in jobs]
    assert overlap(spans) == concurrency


def test_a_group_without_concurrency_uses_all_slots(stack):
    group_id, jobs = post_group(stack, [{"task": "span", "args": ["0.3"]} for _ in range(8)])
    assert wait_group(stack, group_id)["state"] == "SUCCESS"
    assert overlap([stack.rows(job)[0] for job in jobs]) == 4


def test_concurrency_holds_across_queues_and_with_failing_retried_and_deleted_jobs(stack):
    jobs = [{"task": "span", "args": ["0.05"], "queue": queue} for queue in ("default", "two", "one") for _ in range(3)]
    jobs.insert(2, {"task": "divide", "args": ["0"]})
    jobs.insert(4, {"task": "timed", "args": ["5"], "retries": 1})
    jobs.insert(6, {"task": "echo"})
    jobs.insert(7, {"task": "sleep", "args": ["60"]})
    group_id, ids = post_group(stack, jobs, concurrency=2)
    assert stack.delete(f"/jobs/{ids[8]}").status == 200
    assert stack.delete(f"/jobs/{ids[7]}").status == 200
    group = wait_group(stack, group_id)
    assert group["state"] == "FAILURE"
    assert len(group["jobs"]) == 11
    ended = {job["job_id"]: job["state"] for job in group["jobs"]}
    assert [ended.get(job_id) for job_id in ids] == [
        "SUCCESS",
        "SUCCESS",
        "FAILURE",
        "SUCCESS",
        "FAILURE",
        "SUCCESS",
        "FAILURE",
        None,
        None,
        "SUCCESS",
        "SUCCESS",
        "SUCCESS",
        "SUCCESS",
    ]
    spans = [stack.rows(job_id)[0] for job_id in ids if ended.get(job_id) == "SUCCESS"]
    assert overlap(spans) <= 2


def test_a_deleted_running_job_gives_its_place_in_the_group_free(stack):
    group_id, (first, second) = post_group(stack, [{"task": "sleep", "args": ["60"]}, {"task": "nothing_asked"}], concurrency=1)
    stack.wait(first, states=["STARTED"])
    assert stack.job(second)["state"] == "PENDING"
    assert stack.delete(f"/jobs/{first}").status == 200
    assert stack.wait(second)["state"] == "SUCCESS"
    assert wait_group(stack, group_id)["state"] == "SUCCESS"


def test_an_eta_in_a_group_is_kept(stack):
    group_id, (now, later) = post_group(stack, [{"task": "nothing_asked"}, {"task": "nothing_asked", "eta": "2035-01-01 00:00:00"}])
    stack.wait(now)
    assert stack.job(later)["state"] == "PENDING"
    assert stack.get(f"/groups/{group_id}").data["state"] == "STARTED"
    assert stack.delete(f"/groups/{group_id}").status == 200
    assert stack.get(f"/jobs/{later}").status == 404


def test_deleting_a_group_stops_and_forgets_all_its_jobs(stack):
    group_id, ids = post_group(stack, [{"task": "sleep", "args": ["60"]} for _ in range(6)], concurrency=3)
    wait_until(lambda: sum(bool(stack.running_query(job)) for job in ids) == 3, 10 * SLOW, "three queries")
    assert stack.delete(f"/groups/{group_id}").data is True
    wait_until(lambda: not any(stack.running_query(job) for job in ids), 1, "end of the queries")
    assert stack.get(f"/groups/{group_id}").status == 404
    assert all(stack.get(f"/jobs/{job}").status == 404 for job in ids)
    assert stack.delete(f"/groups/{group_id}").status == 404
    wait_until(lambda: stack.r.xlen(stack.key("queue:default")) == 0, 5 * SLOW, "empty stream")


def test_deleting_a_group_finds_its_jobs_in_whatever_queue_they_are(stack):
    queues = [uid("queue") for _ in range(3)]
    group_id, ids = post_group(stack, [{"task": "nothing_asked", "queue": queue} for queue in queues])
    assert stack.delete(f"/groups/{group_id}").data is True
    assert [stack.get(f"/jobs/{job_id}").status for job_id in ids] == [404] * 3
    assert all(stack.get(f"/jobs/queue/{queue}").data == [] for queue in queues)


def test_deleting_a_finished_group_is_409_unless_purged(stack):
    group_id, ids = post_group(stack, [{"task": "nothing_asked"}] * 2)
    wait_group(stack, group_id)
    answer = stack.delete(f"/groups/{group_id}")
    assert answer.status == 409
    assert group_id in answer.message
    assert stack.get(f"/groups/{group_id}").data["state"] == "SUCCESS"
    assert stack.delete(f"/groups/{group_id}?purge=true").data is True
    assert stack.get(f"/groups/{group_id}").status == 404
    assert all(stack.get(f"/jobs/{job}").status == 404 for job in ids)
    wait_until(lambda: not any(stack.has_table(job) for job in ids), 5, "drop of the tables")


def test_a_group_that_is_half_done_is_cancelled_and_keeps_what_has_ended(stack):
    group_id, (done, sleeps) = post_group(stack, [{"task": "nothing_asked"}, {"task": "sleep", "args": ["60"]}])
    stack.wait(done)
    stack.wait(sleeps, states=["STARTED"])
    assert stack.delete(f"/groups/{group_id}").data is True
    assert stack.get(f"/jobs/{sleeps}").status == 404
    assert stack.job(done)["state"] == "SUCCESS"
    assert stack.count(done) == 1


@pytest.mark.parametrize("what", ["group", "job"])
def test_what_a_cancel_leaves_of_a_group_is_forgotten_in_time(stack, what):
    """Nothing of it runs any more that could give it its time to live when it ends."""
    group_id, (done, sleeps) = post_group(stack, [{"task": "nothing_asked"}, {"task": "sleep", "args": ["60"]}])
    stack.wait(done)
    stack.wait(sleeps, states=["STARTED"])
    assert stack.delete(f"/groups/{group_id}" if what == "group" else f"/jobs/{sleeps}").data is True
    assert stack.get(f"/groups/{group_id}").data["state"] == "SUCCESS"
    assert all(stack.r.pttl(stack.key(f"group:{group_id}{part}")) > 0 for part in ("", ":jobs"))


@pytest.mark.parametrize("purge", ["", "?purge=true"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_job_whose_id_has_been_used_again_belongs_to_its_old_group_no_more(stack, others, purge):
    """Neither shown with it nor touched when it is deleted, be there further jobs in the group or not."""
    group_id, (again, *rest) = post_group(stack, [{"task": "nothing_asked"}] * (1 + others))
    wait_group(stack, group_id)
    assert stack.submit("nothing_asked", job_id=again, queue=uid("nobody")) == again
    assert [job["job_id"] for job in stack.get(f"/groups/{group_id}").data["jobs"]] == rest
    answer = stack.delete(f"/groups/{group_id}{purge}")
    assert answer.status == (200 if purge else 409 if rest else 404), answer
    assert stack.job(again)["state"] == "PENDING"
    assert all(stack.get(f"/jobs/{job}").status == (404 if purge else 200) for job in rest)
    assert stack.get(f"/groups/{group_id}").status == (404 if purge else 200)
    assert stack.delete(f"/jobs/{again}").data is True


def test_a_group_of_a_thousand_jobs_is_accepted_in_one_request(stack):
    queue = uid("nobody")
    group_id, ids = post_group(stack, [{"task": "nothing_asked", "queue": queue} for _ in range(1000)], concurrency=7)
    assert len(set(ids)) == 1000
    group = stack.get(f"/groups/{group_id}").data
    assert [job["job_id"] for job in group["jobs"]] == ids
    assert stack.r.xlen(stack.key(f"queue:{queue}")) == 7
    assert stack.delete(f"/groups/{group_id}").status == 200
    assert stack.get(f"/jobs/queue/{queue}").data == []
