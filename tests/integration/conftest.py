"""Fixtures of the integration tests. Run: pytest tests/integration (BIN_DIR=build/asan/bin for sanitized programs).

stack               one stack for the whole session: share it wherever a test leaves it as it was
make_stack(**o)     a stack of the test's own (options of support.LiveStack); pg=stack.pg_source borrows PostgreSQL, which
                    makes it start within a second
make_module_stack   the same, until the end of the module
matrix              a stack with every source and every results engine, until the end of the module
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matrix_support import RESULTS, SOURCES, MatrixStack, Pair
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


def _make(**options: Any) -> Any:
    directory = Path(tempfile.mkdtemp(prefix="dbt-", dir=_roomy_place()))
    directory.chmod(0o755)  # PostgreSQL runs as another user when we are root
    start = options.pop("start", True)
    made = options.pop("kind", LiveStack)(directory, **options)
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


@pytest.fixture(scope="module")
def matrix(stack: LiveStack, make_module_stack: Callable[..., Any]) -> MatrixStack:
    return make_module_stack(kind=MatrixStack, pg=stack.pg_source)


@pytest.fixture
def pair(matrix: MatrixStack, source: str, results: str) -> Pair:
    """For tests with the parameters source and results."""
    return matrix.pair(source, results)


@pytest.fixture(autouse=True)
def _no_sanitizer_reports() -> Iterator[None]:
    yield
    reports = sanitizer_reports()
    assert not reports, "\n".join(reports)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    note_matrix(item, report)
    if report.failed:
        for stack in _live:
            for program in stack.programs():
                report.sections.append((f"{stack.dir}: {program.name}", program.log_tail(15)))
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of the matrix runs for every pair of engines."""
    if metafunc.module.__name__.startswith("test_matrix") and "pair" in metafunc.fixturenames:
        pairs = [(source, results) for source in SOURCES for results in RESULTS]
        metafunc.parametrize(("source", "results"), pairs, ids=[f"{source}-{results}" for source, results in pairs], scope="module")


_matrix: dict[tuple[str, str, str], dict[str, int]] = {}  # by source, results database and group of cases: outcomes


def note_matrix(item: pytest.Item, report: pytest.TestReport) -> None:
    """Counts a test of the matrix in its group (the mark `group`), once."""
    marker = item.get_closest_marker("group")
    if marker and (report.when == "call" or report.failed):
        params = item.callspec.params  # type: ignore[attr-defined]
        outcomes = _matrix.setdefault((params["source"], params["results"], marker.args[0]), {})
        outcomes[report.outcome] = outcomes.get(report.outcome, 0) + 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _matrix:
        terminalreporter.section("matrix")
    for (source, results, group), outcomes in sorted(_matrix.items()):
        said = "ok" if set(outcomes) == {"passed"} else "FAILED"
        counted = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))
        terminalreporter.write_line(f"matrix: {source} → {results}: {group} {said} ({counted})")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reports = sanitizer_reports()
    shutil.rmtree(SANITIZER_DIR, ignore_errors=True)
    if reports:
        print("\n".join(reports))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
