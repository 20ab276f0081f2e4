"""Requests made up from the API's own schema: none may be a fault of the server."""

import pytest
import schemathesis
from gigaslide.serve.app import OPERATIONS
from gigaslide.serve.openapi import make_openapi
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from serving import Served

pytestmark = pytest.mark.slow

SCHEMA = schemathesis.openapi.from_dict(make_openapi(OPERATIONS))
QUICK = settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FOUND = {(one.ok().method.upper(), one.ok().path): one.ok() for one in SCHEMA.get_all_operations()}


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_requests_of_the_schema_are_answered_as_it_says(shown: Served, one):
    operation = FOUND[one.method, one.path]
    known = {one.status, 401, 403, 404, 405, 415, *one.problems}

    @seed(1)
    @QUICK
    @given(st.data())
    def ask(data):
        case = data.draw(operation.as_strategy())
        if "id" in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters["id"] = "a"
        url = f"http://127.0.0.1:{shown.listener.port}"
        headers = {"Authorization": f"Bearer {shown.listener.token}", "X-Gigaslide": "1"}
        answer = case.call(base_url=url, headers=headers, timeout=20)
        assert answer.status_code in known, (answer.status_code, answer.content[:300])

    ask()
