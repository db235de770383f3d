"""The running API is what its description says (api_fuzz.py has the long run: make api-fuzz)."""

from __future__ import annotations

import re

import pytest
from api_fuzz import Fuzz, table
from footprint import assert_no_growth, footprint

SEED, EXAMPLES, REQUESTS_MIN = 1, 20, 500


def test_the_description_is_served_as_yaml_with_the_version_of_the_program(stack):
    status, text, headers = stack.request("GET", "/openapi.yaml")
    assert (status, headers["content-type"]) == (200, "application/yaml")
    assert stack.get("/").data == "dungbeetle " + re.search(r'^  version: "(.*)"$', text, re.M)[1]
    assert stack.request("HEAD", "/openapi.yaml")[0] == 200


@pytest.mark.timeout(480)
def test_the_api_is_what_its_description_says(stack, make_stack):
    """Some hundred requests of schemathesis, valid and invalid, single and in sequences: no server error, no status, header, type or
    body that is not described, nothing invalid accepted, nothing valid refused. The process lives through it."""
    own = make_stack(pg=stack.pg_source)
    pid, before = own.fcgi[0].pid, footprint(own)
    fuzz = Fuzz(own)
    fuzz.run(SEED, EXAMPLES)
    print(table(fuzz.result))
    assert not fuzz.result.violations, fuzz.result.violations[0]
    assert fuzz.result.requests >= REQUESTS_MIN
    assert {status for _, _, status in fuzz.result.counts} == {200, 400, 404, 405, 409}
    assert own.fcgi[0].pid == pid
    assert_no_growth(own, before)
