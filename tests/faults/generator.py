"""Tells the stories of the plan to the API, each story by one thread, and records every answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from plan import Step, Story
from record import NO_ANSWER, Record, Said
from support import check_envelope

THREADS = 8
TIMEOUT = 12.0  # seconds that an answer may take
PAUSE = 0.3  # between two attempts
Ask = Callable[..., tuple[int, Any, dict[str, str]]]  # LabStack.request


class Generator:
    """start(), then join() when the time is over: what insists then goes on until `patience` seconds later."""

    def __init__(self, stories: Sequence[Story], ask: Ask, record: Record) -> None:
        self._ask = ask
        self._record = record
        self._end = threading.Event()
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(stories[i::THREADS],), name=f"client-{i}", daemon=True)
                         for i in range(THREADS)]

    def start(self) -> Generator:
        for thread in self._threads:
            thread.start()
        return self

    def join(self, patience: float) -> None:
        """All requests have their answers, or have been given up."""
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._end.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)
            if thread.is_alive():
                self._record.violate("", f"the client thread {thread.name} hangs")
        if self.errors:
            raise self.errors[0]

    def _work(self, stories: Sequence[Story]) -> None:
        try:
            for story, step in sorted(((story, step) for story in stories for step in story.steps), key=lambda told: told[1].at):
                while (left := step.at - self._record.now()) > 0:
                    if self._end.wait(min(left, 1.0)):
                        return
                self._tell(story, step)
        except BaseException as error:
            self.errors.append(error)

    def _tell(self, story: Story, step: Step) -> None:
        body = dict(step.body) if step.body is not None else None
        if body is not None and step.eta_in is not None:
            body["eta"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + step.eta_in))
        while True:
            said = self._say(story, step, body)
            if said.is_known or not step.insist or self._end.wait(PAUSE):
                return

    def _say(self, story: Story, step: Step, body: dict[str, Any] | None) -> Said:
        method = {"post": "POST", "group": "POST", "get": "GET"}.get(step.verb, "DELETE")
        path = step.path + ("?purge=true" if step.verb == "purge" else "")
        at, wall = self._record.now(), time.time()
        status, answer = NO_ANSWER, None
        try:
            status, answer, headers = self._ask(method, path, body, timeout=TIMEOUT)
        except (OSError, http.client.HTTPException, json.JSONDecodeError, UnicodeDecodeError) as error:
            answer = f"{type(error).__name__}: {error}"
            if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
                self._record.violate(story.id, f"{method} {path}: an answer that is no JSON: {error}")
        else:
            self._look(story, method, path, status, answer, headers)
        said = Said(at, wall, round(self._record.now() - at, 3), story.id, step.verb, step.path, body, status, answer)
        self._record.add(said)
        return said

    def _look(self, story: Story, method: str, path: str, status: int, answer: Any, headers: dict[str, str]) -> None:
        try:
            check_envelope(status, answer, headers)
        except (AssertionError, KeyError) as error:
            self._record.violate(story.id, f"{method} {path}: {status}, not in the envelope: {answer!r} ({error})")
        if status not in (200, 404, 409, 502, 503, 504):
            self._record.violate(story.id, f"{method} {path}: {status} {answer!r}")
