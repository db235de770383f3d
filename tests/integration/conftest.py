"""Fixtures of the integration tests. Run: pytest tests/integration (BIN_DIR=build/asan/bin for sanitized programs).

stack               one stack for the whole session: share it wherever a test leaves it as it was
make_stack(**o)     a stack of the test's own (options of support.LiveStack); pg=stack.pg_source borrows PostgreSQL, which
                    makes it start within a second
make_module_stack   the same, until the end of the module
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import (
    SANITIZER_DIR,
    LiveStack,
    left_running,
    logged_reports,
    sanitizer_reports,
    set_sanitizer_options,
)

set_sanitizer_options()

_live: list[LiveStack] = []  # for the logs that a failed test shows


def _roomy_place() -> str:
    """Memory if there is enough of it: the servers' files are many and short-lived."""
    shm = Path("/dev/shm")
    return str(shm) if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30 else "/tmp"


def _make(**options: Any) -> LiveStack:
    directory = Path(tempfile.mkdtemp(prefix="dbt-", dir=_roomy_place()))
    directory.chmod(0o755)  # PostgreSQL runs as another user when we are root
    start = options.pop("start", True)
    made = LiveStack(directory, **options)
    _live.append(made)
    try:
        if start:
            made.start()
    except BaseException:
        _end(made)
        raise
    return made


def _end(stack: LiveStack) -> None:
    """Stops the stack, removes its files; fails on what sanitizers found or when a process has stayed."""
    try:
        stack.stop()
        reports = sanitizer_reports() + logged_reports(stack)
        left = left_running(stack.dir)
    finally:
        stack.remove()
        _live.remove(stack)
    assert not reports, "\n".join(reports)
    assert not left, left


def _factory() -> Iterator[Callable[..., LiveStack]]:
    made: list[LiveStack] = []

    def make(**options: Any) -> LiveStack:
        made.append(_make(**options))
        return made[-1]

    yield make
    problems = []
    for stack in reversed(made):
        try:
            _end(stack)
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def stack() -> Iterator[LiveStack]:
    """Queues: default (4 slots), reports (2), one (1), two (2)."""
    made = _make(queues={"default": 4, "reports": 2, "one": 1, "two": 2})
    yield made
    _end(made)


@pytest.fixture
def make_stack() -> Iterator[Callable[..., LiveStack]]:
    yield from _factory()


@pytest.fixture(scope="module")
def make_module_stack() -> Iterator[Callable[..., LiveStack]]:
    yield from _factory()


@pytest.fixture(autouse=True)
def _no_sanitizer_reports() -> Iterator[None]:
    yield
    reports = sanitizer_reports()
    assert not reports, "\n".join(reports)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for stack in _live:
            for program in stack.programs():
                report.sections.append((f"{stack.dir}: {program.name}", program.log_tail(15)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    reports = sanitizer_reports()
    shutil.rmtree(SANITIZER_DIR, ignore_errors=True)
    if reports:
        print("\n".join(reports))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
