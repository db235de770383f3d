"""make up, demo and down, with each kind of databases."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support import BIN_DIR, ROOT, SLOW, free_port, left_running

DEV = [sys.executable, str(ROOT / "deploy" / "dev" / "dev.py")]


def dev(command, run_dir, *words):
    return subprocess.run([*DEV, command, "--run-dir", run_dir, "--bin-dir", ROOT / BIN_DIR, "--entries", "5000", *words],
                          capture_output=True, text=True, check=False, timeout=100 * SLOW)


@pytest.mark.parametrize("db", ["postgres", "mysql", "clickhouse"])
def test_the_demonstration_ends_with_rows_and_the_queue(tmp_path, db):
    done = dev("demo", tmp_path / "run", "--db", db, "--http-port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(?m)^ +\d+ ms  SUCCESS  25 rows$", done.stdout), done.stdout
    assert re.search(r"Its 25 rows are in the table results_\S+ of the results database reports", done.stdout), done.stdout
    assert done.stdout.count("@example.com") == 10
    for view in ("STREAM", "GROUPS", "CONSUMERS"):
        assert f"XINFO {view} dungbeetle:queue:reports" in done.stdout
    own_dir = re.search(r"/tmp/dungbeetle-demo-\w+", done.stdout)
    assert own_dir, done.stdout
    assert not left_running(own_dir[0])


@pytest.mark.parametrize("db", ["mysql", "clickhouse"])
def test_a_stack_of_other_databases_stays_up_until_it_is_stopped(tmp_path, db):
    up = dev("up", tmp_path, "--db", db, "--http-port", str(free_port()))
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        shown = dev("demo", tmp_path)
        assert "SUCCESS  25 rows" in shown.stdout, shown.stdout + shown.stderr
        for what in ("source", "results"):  # the commands that it names work
            command = re.search(rf"(?m)^  {what} +(.*)$", up.stdout)
            assert command, up.stdout
            assert subprocess.run(command[1], shell=True, capture_output=True, check=False).returncode == 0
    finally:
        down = dev("down", tmp_path)
    assert down.returncode == 0, down.stderr
    assert not left_running(tmp_path)
