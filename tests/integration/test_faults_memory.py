"""Constant memory (promise 6)."""

from __future__ import annotations

import pytest

from faults_support import fault_options, figure, memory_peak
from support import SANITIZED

pytestmark = pytest.mark.skipif(SANITIZED, reason="sanitizers have memory of their own")


@pytest.mark.parametrize("small_large", [("fault_many_copied_50", "fault_many_copied_500"), ("fault_many_args", "fault_many_args")],
                         ids=["COPY", "row by row"])
def test_memory_does_not_grow_with_the_result(make_stack, stack, small_large):
    """Peak memory (VmHWM) of the worker: 1,000,000 rows cost less than 10 MB more than 100,000, and less than 40 MB in all."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 1}))
    peaks = []
    for task, times in zip(small_large, (50, 500)):
        job = own.wait(own.submit(task, *([times] if task == "fault_many_args" else [])), 60)
        assert (job["state"], job["count"]) == ("SUCCESS", times * 2_000), job
        peaks.append(memory_peak(own.workers[0].pid))
    figure(f"worker's peak memory, {small_large[0]}, 100,000 and 1,000,000 rows, MB", [round(peak / 1e6, 1) for peak in peaks])
    assert peaks[1] - peaks[0] < 10e6
    assert peaks[1] < 40e6


def test_memory_of_wide_rows_has_a_ceiling(make_stack, stack):
    """Rows of 1 MB: the worker holds a few of them, not the result."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 1}))
    job = own.wait(own.submit("wide_rows", 100, 1_000_000), 60)
    assert (job["state"], job["count"]) == ("SUCCESS", 100), job
    peak = memory_peak(own.workers[0].pid)
    figure("worker's peak memory, 100 rows of 1 MB, MB", round(peak / 1e6, 1))
    assert peak < 40e6


def test_memory_does_not_grow_with_the_number_of_jobs(make_stack, stack):
    """1,000 small jobs on one slot: no growth beyond 3 MB after the first 100."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 2}))
    peaks = []
    for n in (100, 900):
        jobs = [{"task": "fault_quick", "args": [str(i)]} for i in range(n)]
        group = own.post("/groups", {"jobs": jobs}).data
        for job in group["jobs"]:
            assert own.wait(job["job_id"])["state"] == "SUCCESS"
        peaks.append(memory_peak(own.workers[0].pid))
    figure("worker's peak memory after 100 and 1,000 jobs, MB", [round(peak / 1e6, 1) for peak in peaks])
    assert peaks[1] - peaks[0] < 3e6
