"""The fault laboratory (tests/faults): a minute of it, always the same one; and that it would see what it is there to see."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from faults_support import figure
from support import BIN_DIR, ROOT, SANITIZED, SLOW

sys.path.append(str(ROOT / "tests" / "faults"))

from checker import Checker  # noqa: E402
from generator import Generator  # noqa: E402
from labstack import LabStack  # noqa: E402
from plan import Ground, Step, Story, faults, stories  # noqa: E402
from record import Record  # noqa: E402

SECONDS = 60 if not SANITIZED else 40


@pytest.mark.timeout(100 + 200 * SLOW)
def test_a_minute_of_the_laboratory_breaks_no_promise():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "faults" / "lab.py", "--bin-dir", BIN_DIR, "--seed", "1", "--minutes", str(SECONDS / 60)],
        capture_output=True, text=True, check=False, timeout=90 + 190 * SLOW)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    said = re.search(r"(?m)^laboratory: seed 1: (\d+) jobs .*; (\d+) faults .* 0 violations; \d+ s$", done.stdout)
    assert said, done.stdout
    assert int(said[1]) >= 100
    assert int(said[2]) >= 20
    figure("laboratory", said[0])


def test_the_same_seed_plans_the_same_and_more_minutes_only_add():
    ground = Ground(["worker-0", "fcgi-0"], ["worker-0", "worker-1", "fcgi-0"], ["redis", "pg_source", "mariadb"], ["worker-0:redis"], ["mariadb"], 3.0)
    assert stories(5, 100) == stories(5, 100)
    assert stories(5, 100) == stories(5, 200)[: len(stories(5, 100))]
    assert stories(5, 100) != stories(6, 100)
    assert faults(5, 100, ground) == faults(5, 100, ground)
    assert faults(5, 100, ground) != faults(6, 100, ground)
    assert {fault.kind for fault in faults(5, 600, ground)} >= {"kill", "freeze", "cut", "silence", "slow", "full-disk", "full-redis", "terminate"}


def test_requests_of_one_moment_are_all_told(tmp_path):
    """Two steps of a story may have the same time (seed 2, 10 minutes)."""
    asked = []

    def ask(method, path, *_, **__):
        asked.append((method, path))
        return 404, {"status": "error", "message": "no"}, {"content-type": "application/json"}

    story = Story("small", "job", (Step(0.0, "get", "/jobs/a"), Step(0.0, "delete", "/jobs/a"), Step(0.0, "get", "/jobs/b")))
    Generator([story], ask, Record(tmp_path / "record.jsonl")).start().join(10)
    assert asked == [("GET", "/jobs/a"), ("DELETE", "/jobs/a"), ("GET", "/jobs/b")]


@pytest.mark.timeout(60 + 60 * SLOW)
def test_the_laboratory_sees_what_is_wrong(request, tmp_path):
    """A quiet run is without violations; then each promise is broken by hand."""
    record = Record(tmp_path / "record.jsonl")
    told = stories(7, 4)
    laboratory = LabStack(tmp_path / "stack", bin_dir=BIN_DIR)
    request.addfinalizer(laboratory.remove)
    with laboratory as stack:
        checker = Checker(stack, told, record, SLOW)
        Generator(told, stack.request, record).start().join(60 * SLOW)
        checker.await_quiet()
        checker.check()
        assert record.violations == []

        done = {database: [str(name).partition("job:")[2] for name in sorted(stack.r.scan_iter(stack.key("job:*")))
                           if (job := stack.r.hgetall(name))["state"] == "SUCCESS" and f"\nresults={database}\nttl=3600000\n" in
                           re.sub(r"\n(group|retries)=.*", "", job["spec"])]
                for database in ("rpg", "rmy")}
        short, unknown, *_ = done["rpg"]
        mixed, again, gone, *_ = done["rmy"]
        stack.pg_results.psql("reports", f'DELETE FROM "results_{short}" WHERE id = (SELECT min(id) FROM "results_{short}")')
        stack.pg_results.psql("reports", f"DELETE FROM dungbeetle_results WHERE job_id = '{unknown}'")
        stack.mariadb.sql(f"UPDATE `results_{mixed}` SET label = 'x' LIMIT 1; CREATE TABLE results_stray (i INT)", "reports")
        stack.r.hset(stack.key(f"job:{again}"), mapping={"state": "STARTED", "run": "1"})
        stack.r.delete(stack.key(f"job:{gone}"))
        stack.r.hset(stack.key("job:ghost"), mapping={"state": "PENDING", "spec": 'task=lab_pg_rpg\nqueue=default\nresults=rpg\nargs=["nobody"]'})
        stack.r.zadd(stack.key("scheduled"), {"ghost": (time.time() + 3600) * 1000})
        story = next(story for story in told if story.kind == "small")
        one = record.story(story.id)[0]
        record.add(replace(one, body={**one.body, "job_id": "lost", "args": ["1", "1", "0", "never"]}))
        record.add(replace(one, verb="get", path=f"/jobs/{short}", status=404, wall=time.time() - 3, took=0.0))
        stack.workers[0].log.open("a").write(f"info job finished job={short} task=x run=12345 outcome=success\n")
        checker.check()
    record.close()
    found = "\n".join(f"{job}: {text}" for job, text in record.violations)
    for wanted in (rf"{short}: SUCCESS with the rows", rf"{unknown}: a table in rpg without a registry row", r"stray: a table in rmy without a registry row",
                   rf"{unknown}: the registry has", rf"{mixed}: SUCCESS with the rows", rf"{again}: from state SUCCESS to STARTED",
                   rf"{again}: run 1 began after", rf"{again}: never ended: STARTED", rf"{gone}: a table in rmy of a job that is gone",
                   r"ghost: a job that nobody asked for", r"ghost: .* never expires", r"left in Redis: 1 scheduled",
                   r"lost: 0 lives of a POST", rf"{short}: get at .* answered with 404", rf"{short}: worker-0 ended run 12345, which never began"):
        assert re.search(wanted, found), (wanted, found)
