"""Loaded into schemathesis by api_fuzz.py: what the description of the API cannot say about valid requests."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import Any

import schemathesis
from hypothesis import strategies as st

TASKS = os.environ["API_FUZZ_TASKS"].split()  # some of the stack's; they know the source `ledger`
WHOLE = ("retries", "ttl", "timeout", "concurrency")  # written without a fraction: JSON schema takes 1.0 for an integer
INT_MIN, INT_MAX = -(2**63), 2**64 - 1

_moments = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30))
_offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
schemathesis.openapi.format("utc-date-time", _moments.map(lambda t: t.strftime("%Y-%m-%d %H:%M:%S")))
schemathesis.openapi.format("date-time", st.builds(lambda t, offset: t.replace(tzinfo=offset).isoformat(), _moments, _offsets))


def known(name: Any) -> Any:
    """A task that there is, mostly: else every request would end as 404."""
    if not isinstance(name, str) or not name or len(name) % 8 == 7:
        return name
    return TASKS[sum(map(ord, name)) % len(TASKS)]


def tame(value: Any) -> Any:
    """Integers beyond 64 bits become texts, as the document demands."""
    if isinstance(value, dict):
        return {key: tame(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tame(item) for item in value]
    return str(value) if isinstance(value, int) and not INT_MIN <= value <= INT_MAX else value


def is_moment(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).year >= 1970
    except ValueError:
        return False


def tame_jobs(jobs: list[Any]) -> None:
    """A pattern lets dates pass that are not in the calendar, and no schema says that ids differ."""
    ids: set[str] = set()
    for fields in jobs:
        if isinstance(fields.get("eta"), str) and not is_moment(fields["eta"]):
            fields["eta"] = ""
        if fields.get("job_id") in ids:
            fields["job_id"] = ""
        ids.add(fields.get("job_id"))


def job(fields: Any) -> Any:
    """A job request of a task and a database that there are. What is not valid in it stays so."""
    if not isinstance(fields, dict):
        return fields
    fields = {name: int(v) if name in WHOLE and isinstance(v, float) and v.is_integer() else v for name, v in fields.items()}
    if isinstance(fields.get("db"), str):
        fields["db"] = "ledger" if fields["db"] else ""
    if "task" in fields:
        fields["task"] = known(fields["task"])
    return fields


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if isinstance(case.path_parameters, dict) and "task" in case.path_parameters:
        case.path_parameters["task"] = known(case.path_parameters["task"])
    if not isinstance(case.body, dict):
        return
    case.body = job(case.body)
    if isinstance(case.body.get("jobs"), list):
        case.body["jobs"] = [job(fields) for fields in case.body["jobs"]]
    if case.meta and case.meta.generation.mode.is_positive:
        case.body = tame(case.body)
        tame_jobs(case.body.get("jobs", [case.body]))


groups: dict[str, list[str]] = {}  # the jobs of each that was accepted
deleted: set[str] = set()  # jobs


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if response.status_code != 200:
        return
    if (case.method, case.operation.path) == ("POST", "/groups"):
        data = response.json()["data"]
        groups[data["group_id"]] = [accepted["job_id"] for accepted in data["jobs"]]
    elif (case.method, case.operation.path) == ("DELETE", "/jobs/{id}"):
        deleted.add(case.path_parameters["id"])


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Not counted: a group that is deleted without purge keeps those of its jobs that had ended, and one whose jobs have all been
    deleted is gone."""
    if case.operation.path != "/groups/{id}":
        return True
    if type(failure).__name__ == "UseAfterFree":
        return any(found["state"] not in ("SUCCESS", "FAILURE") for found in response.json()["data"]["jobs"])
    if type(failure).__name__ == "EnsureResourceAvailability":
        return not deleted.issuperset(groups[case.path_parameters["id"]])
    return True
