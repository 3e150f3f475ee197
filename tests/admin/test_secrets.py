"""No secret comes out where it was not asked for: not in answers, errors, logs, metrics, topics, nor in what objects print."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from admin.shapes.places import NewDestination
from fleetline.settings import Settings
from registry.secrets import digest
from tests.admin.service import ADMIN_TOKEN, Service
from tests.admin.world import World, make_world

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    return make_world(service)


def hidden(world: World) -> list[str]:
    """Return what must not be seen: secrets, and what they could be tried out against."""
    return [*world.secrets, *map(digest, world.secrets), ADMIN_TOKEN]


def found_in(text: str, world: World) -> list[str]:
    return [each for each in hidden(world) if each in text]


def test_no_answer_but_the_first_holds_a_secret_or_its_digest(service: Service, world: World) -> None:
    assert len(world.secrets) == 6
    document = service.operator.get("/openapi.json")
    assert not found_in(document.text, world)
    reading = [path for path, methods in document.json()["paths"].items() if "get" in methods]
    assert len(reading) > 15
    for path in reading:
        answer = service.operator.get(world.fill(path))
        assert answer.status_code == 200, path
        assert not found_in(answer.text, world), path
    assert not found_in(service.operator.get("/metrics").text, world)


def test_errors_do_not_repeat_what_was_sent_as_a_secret(service: Service, world: World) -> None:
    psk = "Bearer do-not-repeat-me"
    base = f"/api/v1/tenants/{world.ids['tenant_id']}/destinations"
    one = f"{base}/{world.ids['destination_id']}"
    for method, path, body in (
        ("post", base, {"url": "https://x.example/", "psk": [psk]}),
        ("post", base, {"url": "https://x.example/", "psk": psk * 100}),
        ("post", base, {"url": "https://x.example/", "psk": f"{psk}\n"}),
        ("post", base, {"psk": psk}),
        ("post", base, {"url": "https://x.example/", "psk": psk, "kind": "pigeon"}),
        ("post", base, [psk]),
        ("patch", one, {"psk": psk, "version": 99}),
        ("patch", one, {"psk": {"a": psk}}),
        ("put", base, {"psk": psk}),
    ):
        answer = service.operator.request(method, path, json=body)
        assert 400 <= answer.status_code < 500
        assert "do-not-repeat-me" not in answer.text, answer.text
    raw = service.operator.post(base, content=f'{{"psk": "{psk}', headers={"content-type": "application/json"})
    assert (raw.status_code, "do-not-repeat-me" in raw.text) == (422, False)


def test_a_secret_in_the_url_is_neither_repeated_nor_counted(service: Service) -> None:
    # whoever puts a key into the query by mistake finds it in no log and no metric of ours
    with service.client() as nobody:
        answer = nobody.get("/api/v1/tenants", params={"api_key": ADMIN_TOKEN})
    assert (answer.status_code, ADMIN_TOKEN in answer.text) == (401, False)
    assert ADMIN_TOKEN not in service.operator.get("/metrics").text


def test_nothing_is_logged_that_holds_a_secret(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = make_world(service)
        path = f"/api/v1/tenants/{made.ids['tenant_id']}"
        service.operator.post(f"{path}/credentials/{made.ids['credential_id']}/rotate")
        service.operator.post(f"{path}/devices", content=b"{", headers={"content-type": "application/json"})
        with service.client(made.key) as client:
            client.get(f"{path}/devices")
    ours = [each for each in caplog.records if not each.name.startswith(("httpx", "httpcore"))]  # the test's own client
    text = "\n".join(f"{each.getMessage()} {each.args} {each.exc_info}" for each in ours)
    assert not found_in(text, made)


def test_topics_hold_digests_in_the_registry_alone_and_secrets_nowhere(service: Service, world: World) -> None:
    registry = "".join(read(service.settings, service.settings.topics.registry))
    audit = "".join(read(service.settings, service.settings.topics.audit))
    assert world.ids["device_id"] in registry
    assert world.ids["device_id"] in audit
    assert not [each for each in (*world.secrets, ADMIN_TOKEN) if each in registry]
    assert not found_in(audit, world)


def test_the_audit_trail_names_the_key_that_was_used(service: Service, world: World) -> None:
    path = f"/api/v1/tenants/{world.ids['tenant_id']}/devices"
    with service.client(world.key) as client:
        made = client.post(path, json={"name": "audited"}).json()["id"]
    trail = [each for each in read(service.settings, service.settings.topics.audit) if made in each]
    assert len(trail) == 1
    assert f'"actor":"api-key:{world.ids["key_id"]}"' in trail[0]
    assert '"actor":"admin-token"' in "".join(read(service.settings, service.settings.topics.audit))


def test_shapes_and_settings_print_no_secret(service: Service) -> None:
    assert "hidden" not in repr(NewDestination(url="https://x.example/", psk="hidden"))
    assert ADMIN_TOKEN not in repr(service.settings)


def read(settings: Settings, topic: str) -> Iterator[str]:
    """Yield every committed value of a topic of one partition."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        while True:
            message: Any = consumer.poll(5)
            assert message is not None
            if message.error() is not None:
                return
            yield f"{message.key()!r} {(message.value() or b'').decode()}"
    finally:
        consumer.close()
