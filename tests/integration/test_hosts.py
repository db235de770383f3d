"""DungBeetle on several hosts, one of which is cut off; `make hosts` does that to all of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import BIN_DIR, ROOT

sys.path.insert(0, str(ROOT / "tests" / "faults"))

import hosts_network  # noqa: E402

REASON = hosts_network.why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


def hosts(*args: str) -> None:
    words = [sys.executable, ROOT / "tests" / "faults" / "hosts.py", "--bin-dir", BIN_DIR, *args]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_host_that_is_cut_off_for_long_loses_its_jobs_and_its_queries():
    """Its jobs end once, elsewhere; its queries in the sources end; when it is back it publishes nothing old."""
    hosts("--cut", "worker-a:silent:34")


def test_jobs_outlive_that_redis_and_a_source_are_cut_off():
    """Each ends SUCCESS once, with the right rows, and nothing is left."""
    hosts("--cut", "redis:silent:7:forget", "--cut", "source:unplugged:7")


def test_stops_come_in_time_while_hosts_are_away():
    """Cancels elsewhere are not held up, cancels are heard again, /health says 503."""
    hosts("--probe", "cancel-elsewhere", "--probe", "cancel-after-redis", "--probe", "health-without-redis")
