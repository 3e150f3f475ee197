"""Any request at all: what the OpenAPI document allows and what it does not, at objects that exist and at others.

FLEETLINE_FUZZ_EXAMPLES says how many requests of each operation and kind; a few by default.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.admin.service import ADMIN_TOKEN, Service
from tests.admin.world import World, make_world

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]

EXAMPLES = int(os.environ.get("FLEETLINE_FUZZ_EXAMPLES", "8"))
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,  # the last: a file that makes no sense is refused row by row, in a report
]


@schemathesis.serializer("text/csv", "application/x-ndjson", "application/ndjson")
def as_it_is(context: Any, value: Any) -> Any:
    """Send a file as it was made up."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def operations(service: Service) -> Iterator[Any]:
    """Yield every operation of the document, those that remove last."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", app=service.app)
    found: list[Any] = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(found) > 40
    yield from sorted(found, key=lambda each: (each.method == "delete", -len(each.path)))


def fuzz(operation: Any, key: str, **given_parts: Any) -> int:
    """Send requests of one operation and check every answer; returns how many were sent."""
    sent = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FLEETLINE_FUZZ_EXAMPLES" not in os.environ,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(**given_parts))
    def attempt(case: Any) -> None:
        nonlocal sent
        sent += 1
        response = case.call(headers={"authorization": f"Bearer {key}"})
        takes_files = any(each.media_type == "text/csv" for each in operation.body)
        case.validate_response(response, checks=CHECKS[:-1] if takes_files else CHECKS)

    attempt()
    return sent


def ids_of(operation: Any, world: World) -> dict[str, str]:
    operators = operation.path.startswith("/api/v1/api-keys")
    ids = {**world.ids, "key_id": world.operators_key} if operators else world.ids
    return {each: ids[each] for each in ids if f"{{{each}}}" in operation.path}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_about_things_that_exist_are_answered_as_the_document_says(
    service: Service, mode: GenerationMode
) -> None:
    world = make_world(service)
    for operation in operations(service):
        if mode == GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # there is nothing in it that could be wrong
        assert fuzz(operation, ADMIN_TOKEN, generation_mode=mode, path_parameters=ids_of(operation, world))


def test_requests_about_anything_are_answered_as_the_document_says(service: Service) -> None:
    world = make_world(service)
    tenant = {"tenant_id": world.ids["tenant_id"]}
    for operation in operations(service):
        fuzz(operation, world.key)
        if "{tenant_id}" in operation.path:
            fuzz(operation, ADMIN_TOKEN, path_parameters=tenant)
