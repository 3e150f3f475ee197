"""The registry changes while records wait: each goes to the device that is right when it goes, and none is lost or repeated."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from fleetline.settings import Settings
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Device
from registry.secrets import digest
from schemas import topics as names
from schemas.records import telemetry_reader
from tests.processors.waiting import Raw, Registry, leave, leave_waiting, normalized, release_all, releaser, settle
from tests.support import START_US, TENANT, raw_headers, read_all

pytestmark = pytest.mark.stack

TOKEN = "the token"


def device(name: str, parent: str = "", gateway: bool = False, **attributes: str) -> Device:
    named = {{"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI}.get(key, key): value for key, value in attributes.items()}
    return Device(id=name, tenant_id=TENANT, name=f"n-{name}", parent_id=parent, gateway=gateway, attributes=named)


def raw(number: int, credential_device: str = "", **named: Any) -> Raw:
    """Make a message of a device, or of a gateway for its child; `number` is its reading."""
    body = {**named, "ts": START_US // 1000 + number, "telemetry": {"temperature": number}}
    more = [(names.DEVICE, credential_device.encode())] if credential_device else []
    return b"", orjson.dumps(body), [*raw_headers(), *more]


def flespi(number: int, ident: str) -> tuple[str, Raw]:
    message = {"ident": ident, "timestamp": START_US / 1e6 + number, "cabin.temperature": number, "temperature": number}
    return "flespi", (b"", orjson.dumps([message]), raw_headers())


def relayed(gateway: str, kid: str, numbers: Iterable[int]) -> list[tuple[str, Raw]]:
    return [("device", raw(number, gateway, childDeviceId=kid)) for number in numbers]


def went(settings: Settings) -> dict[tuple[str, str], list[float]]:
    """Return the readings of each device and gateway, in the order of the topic."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in map(telemetry_reader(), (each.value() for each in read_all(settings, settings.topics.telemetry))):
        key = (record["device_id"], record["gateway_id"])
        found.setdefault(key, []).append(record["numbers"]["temperature"])
    return found


def at_once(settings: Settings, registry: Registry, raws: list[tuple[str, Raw]]) -> set[str]:
    """Return the topics that messages of now come to, without their prefix."""
    made = normalized(settings, registry.view, raws)
    return {topic.removeprefix(settings.topic_prefix) for topic, *_ in made}


def test_a_child_that_moved_is_its_new_gateways_and_no_longer_its_old_ones(topics: Settings) -> None:
    # AC-a17, AC-c11
    registry = Registry(device("old", gateway=True), device("new", gateway=True))
    leave_waiting(topics, relayed("old", "probe", range(3)))
    leave_waiting(topics, relayed("new", "probe", range(10, 13)))
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(device("child", parent="new", external_id="probe"))
        release_all(made, 3)
        assert settle(made) == 0
        registry.put(device("child", parent="old", external_id="probe"))
        release_all(made, 3)
        assert at_once(topics, registry, relayed("new", "probe", [20])) == {"unmapped"}
        assert at_once(topics, registry, relayed("old", "probe", [20])) == {"telemetry"}
    assert went(topics) == {("child", "new"): [10, 11, 12], ("child", "old"): [0, 1, 2]}


def test_without_its_gateway_flag_a_device_relays_for_nobody_until_it_has_it_again(topics: Settings) -> None:
    # AC-a17
    child = device("child", parent="gateway", external_id="probe")
    registry = Registry(device("gateway"), child)
    leave_waiting(topics, relayed("gateway", "probe", range(3)))
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(device("gateway", gateway=True))
        release_all(made, 3)
        registry.put(device("gateway"))
        assert at_once(topics, registry, relayed("gateway", "probe", [3])) == {"unmapped"}
        assert at_once(topics, registry, [("device", raw(3, "gateway"))]) == {"telemetry"}, "it still speaks for itself"
        leave_waiting(topics, relayed("gateway", "probe", [3]))
        assert settle(made) == 0
        registry.put(device("gateway", gateway=True))
        release_all(made, 1)
    assert went(topics) == {("child", "gateway"): [0, 1, 2, 3]}


def test_a_device_made_anew_under_the_same_imei_gets_what_came_since_the_first_was_deleted(topics: Settings) -> None:
    imei = "352625333222111"
    first, second = device("first", imei=imei), device("second", imei=imei)
    registry = Registry()
    leave_waiting(topics, [flespi(n, imei) for n in range(2)])
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(first)
        release_all(made, 2)
        registry.remove(first)
        assert at_once(topics, registry, [flespi(2, imei)]) == {"unmapped"}
        leave_waiting(topics, [flespi(n, imei) for n in range(2, 4)])
        leave_waiting(topics, [("digital_matter", dm(4, imei))])
        assert settle(made) == 0
        registry.put(second)
        release_all(made, 3)
        assert settle(made) == 0
    assert went_to(topics) == {"first": 2, "second": 3}


def dm(number: int, imei: str) -> Raw:
    record = {"SeqNo": number, "DateUTC": "2026-01-02 03:04:05", "Reason": 11, "Fields": []}
    return b"", orjson.dumps({"SerNo": 7, "IMEI": imei, "Records": [record]}), raw_headers()


def went_to(settings: Settings) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in read_all(settings, settings.topics.telemetry):
        device_id = telemetry_reader()(each.value())["device_id"]
        found[device_id] = found.get(device_id, 0) + 1
    return found


def test_a_deleted_devices_own_records_are_no_other_devices_though_it_is_made_anew(topics: Settings) -> None:
    """They came by its token: what a token vouches for is that one device, whatever the message says."""
    registry = Registry()
    leave_waiting(topics, [("device", raw(n, "gone")) for n in range(2)])
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(device("anew", external_id="gone", serial="gone"))
        assert settle(made) == 0
        registry.put(device("gone", external_id="its own again"))
        release_all(made, 2)
    assert went(topics) == {("gone", ""): [0, 1]}


def test_an_external_id_that_is_changed_releases_who_waited_under_the_new_one_only(topics: Settings) -> None:
    # AC-a29
    registry = Registry(device("d", external_id="before"))
    for name, start in (("before", 0), ("after", 10), ("later", 20)):
        leave(topics, name, range(start, start + 3))
    with releaser(topics, registry.view) as made:
        release_all(made, 3)
        registry.put(device("d", external_id="after"))
        release_all(made, 3)
        leave(topics, "before", range(3, 5))
        assert settle(made) == 0
        registry.put(device("d", external_id="later"), device("e", external_id="before"))
        release_all(made, 5)
        assert settle(made) == 0
    assert went(topics) == {("d", ""): [0, 1, 2, 10, 11, 12, 20, 21, 22], ("e", ""): [3, 4]}


def test_one_change_that_maps_two_senders_releases_both_each_in_its_order(topics: Settings) -> None:
    # AC-a41
    imei = "352625333222111"
    registry = Registry()
    leave_waiting(
        topics, [each for n in range(20) for each in (flespi(n, imei), ("generic", waiting("silo", 100 + n)))]
    )
    leave(topics, "another", range(5))
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(device("d", external_id="silo", imei=imei))
        release_all(made, 40)
        assert settle(made) == 0
    readings = went(topics).pop(("d", ""))
    assert [n for n in readings if n < 100] == [float(n) for n in range(20)]
    assert [n for n in readings if n >= 100] == [float(100 + n) for n in range(20)]


def waiting(name: str, number: int) -> Raw:
    return raw(number, externalDeviceId=name)


def test_a_credential_revoked_while_records_wait_takes_nothing_back(topics: Settings) -> None:
    """It was good when they were accepted; who revokes it shuts the door for what comes, not for what is in the house."""
    gateway = device("gateway", gateway=True)
    gateways = Credential(id="c", tenant_id=TENANT, source="device", digest=digest("its token"), device_id="gateway")
    tenants = Credential(id="t", tenant_id=TENANT, source="generic", digest=digest("the tenant's"))
    registry = Registry(gateway, gateways, tenants)
    leave_waiting(topics, relayed("gateway", "probe", range(3)))
    leave(topics, "silo", range(10, 13))
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.remove(gateways)
        registry.remove(tenants)
        assert settle(made) == 0
        registry.put(device("child", parent="gateway", external_id="probe"), device("d", external_id="silo"))
        release_all(made, 6)
    assert went(topics) == {("child", "gateway"): [0, 1, 2], ("d", ""): [10, 11, 12]}


def test_a_token_in_a_body_names_its_device_for_as_long_as_it_is_one(topics: Settings) -> None:
    """The webhook's own secret opened the door, so an unknown token waits; revoked, it names nobody any more."""
    # AC-a41
    owner = device("d", external_id="silo")
    token = Credential(id="c", tenant_id=TENANT, source="device", digest=digest(TOKEN), device_id="d")
    registry = Registry(owner)
    shown = [("generic", raw(n, deviceToken=TOKEN)) for n in range(3)]
    leave_waiting(topics, shown)
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        registry.put(token)
        release_all(made, 3)
    assert went(topics) == {("d", ""): [0, 1, 2]}
    assert at_once(topics, registry, shown[:1]) == {"telemetry"}
    registry.remove(token)
    assert at_once(topics, registry, shown[:1]) == {"unmapped"}
