"""A minute of the fault laboratory (tests/faults), always the same one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support import BIN_DIR, ROOT, SLOW

from faults_support import figure

SECONDS = 60


@pytest.mark.timeout(100 + 200 * SLOW)
def test_a_minute_of_the_laboratory_breaks_no_promise():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "faults" / "lab.py", "--bin-dir", BIN_DIR, "--seed", "1", "--minutes", str(SECONDS / 60)],
        capture_output=True, text=True, check=False, timeout=90 + 190 * SLOW)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    said = re.search(r"(?m)^laboratory: seed 1: (\d+) jobs .* (\d+) faults .* 0 violations; \d+ s$", done.stdout)
    assert said, done.stdout
    assert int(said[1]) >= 200
    assert int(said[2]) >= 30
    figure("laboratory", said[0])
