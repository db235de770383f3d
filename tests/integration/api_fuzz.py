"""The running API held against its description (/openapi.yaml) by schemathesis, through nginx.

    api_fuzz.py [--requests 5000] [--seed 1]

Starts a private stack, runs schemathesis again and again, with one seed after the other, until so many requests have been sent, and
prints how many there were, by operation and status, as nginx counted them. Exit status 1 on a violation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from support import HERE, LiveStack

TASKS = "echo numbers nothing_asked no_tags divide which_source"
EXCLUDED = "ignored_auth"
OPERATIONS = (
    ("/tasks/{task}/jobs", r"/tasks/[^/]+/jobs"),
    ("/jobs/queue/{queue}", r"/jobs/queue/[^/]+"),
    ("/jobs/{id}", r"/jobs/[^/]+"),
    ("/groups/{id}", r"/groups/[^/]+"),
)
FIXED = ("/", "/tasks", "/groups", "/health", "/metrics", "/openapi.yaml")


@dataclass
class Result:
    """What was sent and found."""

    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # by method, path of the description, status
    violations: list[str] = field(default_factory=list)  # what schemathesis said, a run each

    @property
    def requests(self) -> int:
        return sum(self.counts.values())


def operation(uri: str) -> str:
    path = uri.partition("?")[0]
    if len(path) > 1:
        path = path.removesuffix("/")
    if path in FIXED:
        return path
    return next((name for name, pattern in OPERATIONS if re.fullmatch(pattern, path)), "(none)")


class Fuzz:
    """stack: with an access log. Each run sends some hundreds of requests."""

    def __init__(self, stack: LiveStack) -> None:
        self.stack = stack
        self.result = Result()
        self._seen = 0  # bytes of the access log

    def run(self, seed: int, examples: int, phases: str = "examples,coverage,fuzzing,stateful") -> None:
        self._count(Counter())  # what others have sent does not count
        env = {**os.environ, "SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": str(HERE), "API_FUZZ_TASKS": TASKS}
        argv = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{self.stack.url}/openapi.yaml"),
            *("--seed", str(seed), "--max-examples", str(examples), "--phases", phases, "--exclude-checks", EXCLUDED),
            *("--generation-database", "none", "--no-color", "--request-timeout", "30", "--warnings", "off"),
        ]
        done = subprocess.run(argv, cwd=self.stack.dir, env=env, capture_output=True, text=True, check=False)
        self._count(self.result.counts)
        if done.returncode != 0:
            self.result.violations.append(f"seed {seed}:\n{done.stdout}{done.stderr}")

    def _count(self, counts: Counter[tuple[str, str, int]]) -> None:
        with self.stack.nginx.access_log.open("rb") as log:
            log.seek(self._seen)
            text = log.read()
        self._seen += text.rindex(b"\n") + 1 if b"\n" in text else 0
        for line in text.splitlines():
            entry = json.loads(line)
            counts[entry["method"], operation(entry["uri"]), entry["status"]] += 1


def table(result: Result) -> str:
    """Requests by operation and status; those with a method that the path has not are together."""
    rows: dict[tuple[str, str], Counter[int]] = {}
    for (method, path, status), n in sorted(result.counts.items(), key=lambda item: (item[0][1], item[0])):
        row = ("(none)", "any path") if status == 405 else (method, path)
        rows.setdefault(row, Counter())[status] += n
    return "\n".join(
        f"{method:8}{path:24}{sum(found.values()):7}   " + "  ".join(f"{status}: {n}" for status, n in sorted(found.items()))
        for (method, path), found in rows.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=60, help="cases of an operation in each run")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="dbt-fuzz-"))
    directory.chmod(0o755)  # PostgreSQL runs as another user when we are root
    stack = LiveStack(directory)
    began = time.monotonic()
    try:
        stack.start()
        fuzz = Fuzz(stack)
        seed = options.seed
        while fuzz.result.requests < options.requests and not fuzz.result.violations:
            fuzz.run(seed, options.examples)
            seed += 1
    finally:
        stack.stop()
        stack.remove()
    result = fuzz.result
    print(table(result))
    for text in result.violations:
        print(text)
    took = time.monotonic() - began
    print(f"{result.requests} requests, seeds {options.seed} to {seed - 1}, {took:.0f} s: {len(result.violations)} violations")
    return 1 if result.violations or result.requests < options.requests else 0


if __name__ == "__main__":
    sys.exit(main())
