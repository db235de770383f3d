"""Queues, slots and times: FIFO, eta, what an operator sees in Redis, a clean stop."""

import json
import signal
from datetime import datetime, timedelta, timezone

import pytest
from support import SANITIZED, SLOW, uid, wait_until


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def spans(stack, jobs):
    return [stack.rows(job)[0] for job in jobs]


def test_a_queue_with_one_slot_is_first_in_first_out(stack):
    jobs = [stack.submit("span", 0.01, queue="one") for _ in range(15)]
    for job in jobs:
        assert stack.wait(job)["state"] == "SUCCESS"
    found = spans(stack, jobs)
    assert found == sorted(found)
    assert all(end <= begin for (_, end), (begin, _) in zip(found, found[1:]))


def test_jobs_of_one_group_are_first_in_first_out(stack):
    answer = stack.post("/groups", {"jobs": [{"task": "span", "args": ["0.01"], "queue": "one"} for _ in range(10)]})
    jobs = [job["job_id"] for job in answer.data["jobs"]]
    for job in jobs:
        stack.wait(job)
    assert spans(stack, jobs) == sorted(spans(stack, jobs))


def test_nothing_waits_behind_a_busy_slot(stack):
    """With one of two slots busy for long, all the others go through the second."""
    long = stack.submit("sleep", 60, queue="two")
    stack.wait(long, states=["STARTED"])
    for _ in range(6):
        stack.succeed("nothing_asked", queue="two")
    assert stack.job(long)["state"] == "STARTED"
    assert stack.delete(f"/jobs/{long}").status == 200


def test_a_full_queue_does_not_block_another_one(stack):
    busy = [stack.submit("sleep", 60, queue="two") for _ in range(4)]
    for job in busy[:2]:
        stack.wait(job, states=["STARTED"])
    for queue in ("default", "one", "reports"):
        stack.succeed("nothing_asked", queue=queue)
    assert [stack.job(job)["state"] for job in busy] == ["STARTED", "STARTED", "PENDING", "PENDING"]
    for job in reversed(busy):
        assert stack.delete(f"/jobs/{job}").status == 200


def test_a_queue_never_runs_more_jobs_than_it_has_slots(stack):
    jobs = [stack.submit("span", 0.05, queue="two") for _ in range(10)]
    for job in jobs:
        stack.wait(job)
    events = sorted(event for begin, end in spans(stack, jobs) for event in ((begin, 1), (end, -1)))
    running = [sum(step for _, step in events[:i]) for i in range(len(events) + 1)]
    assert max(running) == 2


def test_a_queue_that_no_worker_serves_keeps_its_jobs(stack):
    queue = uid("nobody")
    job = stack.submit("nothing_asked", queue=queue)
    stack.succeed("nothing_asked")
    assert stack.job(job)["state"] == "PENDING"
    assert stack.delete(f"/jobs/{job}").status == 200


def test_fifty_jobs_with_one_eta_all_start_within_half_a_second_of_it_and_none_before(stack):
    eta = datetime.now(timezone.utc) + timedelta(seconds=2 if not SANITIZED else 5)
    jobs = [stack.submit("nothing_asked", eta=eta.isoformat()) for _ in range(50)]
    eta = eta.replace(microsecond=eta.microsecond // 1000 * 1000)
    late = [(when(stack.wait(job)["started_at"]) - eta).total_seconds() for job in jobs]
    assert min(late) >= 0
    assert max(late) <= 0.5 * SLOW


def test_jobs_start_in_the_order_of_their_etas(stack):
    now = datetime.now(timezone.utc)
    etas = [1.2, 0.9, 1.5, 1.0]
    jobs = [stack.submit("nothing_asked", queue="one", eta=(now + timedelta(seconds=s)).isoformat()) for s in etas]
    started = [when(stack.wait(job)["started_at"]) for job in jobs]
    assert sorted(range(4), key=lambda i: started[i]) == sorted(range(4), key=lambda i: etas[i])


def test_a_scheduled_job_that_is_deleted_never_starts(stack):
    eta = datetime.now(timezone.utc) + timedelta(seconds=0.6)
    deleted = stack.submit("nothing_asked", eta=eta.isoformat())
    other = stack.submit("nothing_asked", eta=(eta + timedelta(seconds=0.2)).isoformat())
    assert stack.delete(f"/jobs/{deleted}").status == 200
    assert stack.wait(other)["state"] == "SUCCESS"
    assert not stack.has_table(deleted)


def test_redis_shows_an_operator_what_waits_and_what_runs(stack):
    """XINFO: length = jobs not finished, pending = running, lag = waiting; each running slot is a consumer with one entry."""
    stream = stack.key("queue:two")
    wait_until(lambda: stack.r.xlen(stream) == 0, 10, "empty stream")
    jobs = [stack.submit("sleep", 60, queue="two") for _ in range(5)]
    for job in jobs[:2]:
        stack.wait(job, states=["STARTED"])
    assert stack.r.xinfo_stream(stream)["length"] == 5
    (group,) = stack.r.xinfo_groups(stream)
    assert (group["name"], group["pending"], group["lag"]) == ("workers", 2, 3)
    consumers = {consumer["name"]: consumer["pending"] for consumer in stack.r.xinfo_consumers(stream, "workers")}
    assert sorted(consumers.values()) == [1, 1]
    assert all(name.startswith("worker-0-") for name in consumers)
    entries = [fields for _, fields in stack.r.xrange(stream)]
    assert [entry["job"] for entry in entries] == jobs

    for job in jobs[2:]:
        assert stack.delete(f"/jobs/{job}").status == 200
    for job in jobs[:2]:
        assert stack.delete(f"/jobs/{job}").status == 200
    wait_until(lambda: stack.r.xlen(stream) == 0, 10 * SLOW, "empty stream")
    (group,) = stack.r.xinfo_groups(stream)
    assert (group["pending"], group["lag"]) == (0, 0)


def test_nothing_of_a_finished_job_is_left_in_the_stream(stack):
    for queue in ("default", "reports"):
        stack.succeed("nothing_asked", queue=queue)
        assert stack.r.xlen(stack.key(f"queue:{queue}")) == 0
        assert stack.r.xpending(stack.key(f"queue:{queue}"), "workers")["pending"] == 0
        assert stack.r.zcard(stack.key(f"waiting:{queue}")) == 0
    assert stack.r.zcard(stack.key("scheduled")) == 0


def test_the_state_of_a_finished_job_expires_and_never_before_its_result(stack):
    short = stack.succeed("nothing_asked", ttl=60)
    long = stack.succeed("nothing_asked", ttl=7 * 24 * 3600)
    failed = stack.fail("divide", 0)["job_id"]
    day = 24 * 3600
    assert day - 60 < stack.r.ttl(stack.key(f"job:{short}")) <= day
    assert 7 * day - 60 < stack.r.ttl(stack.key(f"job:{long}")) <= 7 * day
    assert day - 60 < stack.r.ttl(stack.key(f"job:{failed}")) <= day


def test_the_state_of_a_job_that_waits_or_runs_does_not_expire(stack):
    job = stack.submit("sleep", 60)
    assert stack.r.ttl(stack.key(f"job:{job}")) == -1
    stack.wait(job, states=["STARTED"])
    assert stack.r.ttl(stack.key(f"job:{job}")) == -1
    assert stack.delete(f"/jobs/{job}").status == 200


def test_an_entry_that_is_no_job_is_dropped_and_does_not_hold_up_the_queue(stack):
    for fields in ({"nonsense": "1"}, {"job": "no-such-job", "group": ""}, {"job": "x" * 300}, {"job": ""}):
        stack.r.xadd(stack.key("queue:one"), fields)
    stack.succeed("nothing_asked", queue="one")
    assert stack.r.xlen(stack.key("queue:one")) == 0


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    return make_module_stack(pg=stack.pg_source, config={"worker": {"drain_timeout": "3s"}}, queues={"default": 3, "other": 1})


def test_the_worker_registers_itself(own):
    (known,) = [json.loads(text) for text in own.r.hvals(own.key("workers"))]
    assert known["name"] == "worker-0"
    assert known["pid"] == own.workers[0].pid
    assert known["queues"] == {"default": 3, "other": 1}
    assert (known["slots"], known["running"]) == (4, 0)


def test_flushall_is_survived_the_worker_makes_its_group_again(own):
    own.succeed("nothing_asked")
    own.r.flushall()
    own.succeed("nothing_asked")
    own.succeed("nothing_asked", queue="other")
    own.r.delete(own.key("queue:default"))
    own.succeed("nothing_asked")
    own.r.xgroup_destroy(own.key("queue:default"), "workers")
    own.succeed("nothing_asked")


def test_after_flushall_an_old_id_can_still_publish(own):
    """Run numbers guard the results databases: they must not begin anew when Redis has forgotten them."""
    job = own.succeed("numbers", 3)
    own.r.flushall()
    own.succeed("numbers", 5, job_id=job)
    assert own.count(job) == 5


def test_script_flush_is_survived(own):
    own.r.script_flush()
    own.succeed("nothing_asked")


def test_flushall_while_a_job_runs_leaves_no_result_of_it(own):
    """The job is forgotten: its query is stopped, or what it makes is taken back."""
    job = own.submit("sleep", 3)
    wait_until(lambda: own.running_query(job), 10 * SLOW, "the query")
    own.r.flushall()
    wait_until(lambda: not own.running_query(job), 20 * SLOW, "end of the query")
    own.succeed("nothing_asked")
    wait_until(lambda: not own.has_table(job), 5 * SLOW, "no table")
    assert own.get(f"/jobs/{job}").status == 404


def test_a_clean_stop_waits_for_what_runs_and_leaves_nothing_behind(own):
    """SIGTERM: the running job ends in SUCCESS, the waiting one waits; no consumer and no worker is left."""
    running = own.submit("sleep", 1, queue="other")
    waiting = own.submit("nothing_asked", queue="other")
    own.wait(running, states=["STARTED"])
    worker = own.workers[0]
    worker.terminate()
    assert worker.wait(20 * SLOW) == 0
    assert own.job(running)["state"] == "SUCCESS"
    assert own.job(waiting)["state"] == "PENDING"
    assert own.count(running) == 1
    for queue in ("default", "other"):
        assert own.r.xinfo_consumers(own.key(f"queue:{queue}"), "workers") == []
    assert own.r.hlen(own.key("workers")) == 0
    assert own.metric("dungbeetle_workers_alive") == 0
    worker.start()
    assert own.wait(waiting)["state"] == "SUCCESS"


@pytest.mark.parametrize("how", ["timeout", "second signal", "interrupt"])
def test_a_drain_gives_back_what_does_not_end_without_costing_a_retry(own, how):
    """After drain_timeout, or at a second signal, the job goes back to the front of the queue and is run once more."""
    job = own.submit("sleep", 30, queue="other")
    behind = own.submit("nothing_asked", queue="other")
    wait_until(lambda: own.running_query(job), 10 * SLOW, "the query")
    worker = own.workers[0]
    worker.signal(signal.SIGINT if how == "interrupt" else signal.SIGTERM)
    if how != "timeout":
        wait_until(lambda: "draining" in worker.log_text().splitlines()[-1], 5, "draining")
        worker.terminate()
    assert worker.wait(20 * SLOW) == 0
    assert not own.running_query(job)
    assert own.job(job)["state"] == "PENDING"
    (group,) = own.r.xinfo_groups(own.key("queue:other"))
    assert group["lag"] == 1
    worker.start()
    own.wait_worker(worker)
    wait_until(lambda: own.running_query(job), 10 * SLOW, "the query again")
    assert own.job(behind)["state"] == "PENDING"  # it has kept its place before it
    found = own.job(job)
    assert found["state"] == "STARTED"
    assert own.delete(f"/jobs/{job}").status == 200
    assert own.wait(behind)["state"] == "SUCCESS"


def test_two_workers_share_a_queue(stack, make_stack):
    both = make_stack(pg=stack.pg_source, workers=2, queues={"default": 1})
    jobs = [both.submit("span", 0.1) for _ in range(6)]
    assert {both.wait(job)["worker"] for job in jobs} == {"worker-0", "worker-1"}
    assert both.metric("dungbeetle_workers_alive") == 2


def test_a_prefix_keeps_two_stacks_in_one_redis_apart(stack, make_stack):
    other = make_stack(pg=stack.pg_source, config={"redis": {"prefix": "{other}:"}})
    other.succeed("nothing_asked")
    group = other.post("/groups", {"jobs": [{"task": "nothing_asked"}] * 3, "concurrency": 1}).data
    wait_until(lambda: other.get(f"/groups/{group['group_id']}").data["state"] == "SUCCESS", 10 * SLOW, "the group")
    assert other.r.keys() != []
    assert all(key.startswith("{other}:") for key in other.r.keys())
