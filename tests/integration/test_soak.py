"""Nothing grows by the number of jobs; `make soak` shows it for 200,000."""

from __future__ import annotations

import os
import subprocess
import sys

from support import BIN_DIR, ROOT, SANITIZED

# Before the first measurement everything must have been met once; sanitizers have memory of their own.
FIRST, JOBS = 1500, 3000


def test_small_jobs_leave_nothing_behind():
    """Memory, descriptors and threads of both programs, Redis and the result tables are after 3,000 jobs as after 1,500."""
    words = [sys.executable, ROOT / "tests" / "bench" / "soak.py", "--bin-dir", BIN_DIR, "--first", str(FIRST), "--jobs", str(JOBS), "--ttl", "2"]
    words += ["--no-memory"] if SANITIZED else ["--slack", "256"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ, timeout=300)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
