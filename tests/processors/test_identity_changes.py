"""The registry changes while records wait: each goes to the device that is right when it goes, and none is lost or repeated."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest

from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.settings import Settings
from processors.release import Releaser
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Device, Entry
from registry.secrets import digest
from schemas import topics as names
from schemas.ids import new_id
from schemas.records import telemetry_reader
from tests.processors.waiting import Raw, Registry, leave_waiting, normalized, release_all, releaser, settle
from tests.support import START_US, raw_headers, read_all

pytestmark = pytest.mark.stack

TOKEN = "the token"
IMEI = "352625333222111"
Sent = tuple[str, Raw]


class Bench:
    """A tenant of its own for each test, in one house: its devices, what its senders send, and what becomes of that."""

    def __init__(self, settings: Settings, registry: Registry, made: Releaser) -> None:
        self.settings, self.registry, self._made = settings, registry, made
        self.tenant = new_id()

    def put(self, *entries: Entry) -> None:
        self.registry.put(*entries)

    def device(self, name: str, parent: str = "", gateway: bool = False, **attributes: str) -> Device:
        own = {"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI}
        named = {own.get(key, key): value for key, value in attributes.items()}
        above = self.id(parent) if parent else ""
        return Device(
            id=self.id(name),
            tenant_id=self.tenant,
            name=f"n-{name}",
            parent_id=above,
            gateway=gateway,
            attributes=named,
        )

    def credential(self, source: str, token: str, of: str = "") -> Credential:
        bound = self.id(of) if of else ""
        return Credential(id=new_id(), tenant_id=self.tenant, source=source, digest=digest(token), device_id=bound)

    def id(self, name: str) -> str:
        return f"{name}.{self.tenant}"

    def _raw(self, body: Any, of: str = "") -> Raw:
        headers = [(name, self.tenant.encode() if name == names.TENANT else value) for name, value in raw_headers()]
        return b"", orjson.dumps(body), [*headers, *([(names.DEVICE, self.id(of).encode())] if of else [])]

    def readings(self, source: str, numbers: Iterable[int], of: str = "", **named: Any) -> list[Sent]:
        """Make messages; `of` is whose credential they came by, `named` whom they name."""
        bodies = ({**named, "ts": START_US // 1000 + n, "telemetry": {"temperature": n}} for n in numbers)
        return [(source, self._raw(body, of)) for body in bodies]

    def flespi(self, numbers: Iterable[int], ident: str) -> list[Sent]:
        return [
            ("flespi", self._raw([{"ident": ident, "timestamp": START_US / 1e6 + n, "temperature": n}]))
            for n in numbers
        ]

    def relayed(self, gateway: str, kid: str, numbers: Iterable[int]) -> list[Sent]:
        return self.readings("device", numbers, gateway, childDeviceId=kid)

    def leave(self, sent: list[Sent]) -> None:
        """Have records wait."""
        leave_waiting(self.settings, sent)

    def settles(self) -> bool:
        """Tell whether nothing more is released now."""
        return settle(self._made, 3) == 0

    def released(self, count: int) -> None:
        release_all(self._made, count)
        assert self.settles()

    def at_once(self, sent: list[Sent]) -> set[str]:
        """Return the topics that messages of now come to, without their prefix."""
        made = normalized(self.settings, self.registry.view, sent)
        return {topic.removeprefix(self.settings.topic_prefix) for topic, *_ in made}

    def went(self) -> dict[tuple[str, str], list[float]]:
        """Return the readings of each device and gateway, in the order of the topic."""
        found: dict[tuple[str, str], list[float]] = {}
        read = telemetry_reader()
        for record in (read(each.value()) for each in read_all(self.settings, self.settings.topics.telemetry)):
            if record["tenant_id"] == self.tenant:
                device, gateway = (
                    each.removesuffix(f".{self.tenant}") for each in (record["device_id"], record["gateway_id"])
                )
                found.setdefault((device, gateway), []).append(record["numbers"]["temperature"])
        return found


@pytest.fixture(scope="module")
def house(stack: Settings) -> Iterator[tuple[Settings, Registry, Releaser]]:
    settings = stack.model_copy(update={"topic_prefix": f"c{new_id()[-12:]}.", "partitions": 2})
    ensure_topics(settings)
    registry = Registry()
    with releaser(settings, registry.view) as made:
        settle(made)
        yield settings, registry, made
    delete_topics(settings)


@pytest.fixture
def bench(house: tuple[Settings, Registry, Releaser]) -> Bench:
    return Bench(*house)


def test_a_child_that_moved_is_its_new_gateways_and_no_longer_its_old_ones(bench: Bench) -> None:
    # AC-a17, AC-c11
    bench.put(bench.device("old", gateway=True), bench.device("new", gateway=True))
    bench.leave(bench.relayed("old", "probe", range(3)))
    bench.leave(bench.relayed("new", "probe", range(10, 13)))
    assert bench.settles()
    bench.put(bench.device("child", parent="new", external_id="probe"))
    bench.released(3)
    bench.put(bench.device("child", parent="old", external_id="probe"))
    bench.released(3)
    assert bench.at_once(bench.relayed("new", "probe", [20])) == {"unmapped"}
    assert bench.at_once(bench.relayed("old", "probe", [20])) == {"telemetry"}
    assert bench.went() == {("child", "new"): [10, 11, 12], ("child", "old"): [0, 1, 2]}


def test_without_its_gateway_flag_a_device_relays_for_nobody_until_it_has_it_again(bench: Bench) -> None:
    # AC-a17
    bench.put(bench.device("gateway"), bench.device("child", parent="gateway", external_id="probe"))
    bench.leave(bench.relayed("gateway", "probe", range(3)))
    assert bench.settles()
    bench.put(bench.device("gateway", gateway=True))
    bench.released(3)
    bench.put(bench.device("gateway"))
    assert bench.at_once(bench.relayed("gateway", "probe", [3])) == {"unmapped"}
    assert bench.at_once(bench.readings("device", [3], "gateway")) == {"telemetry"}, "it still speaks for itself"
    bench.leave(bench.relayed("gateway", "probe", [3]))
    assert bench.settles()
    bench.put(bench.device("gateway", gateway=True))
    bench.released(1)
    assert bench.went() == {("child", "gateway"): [0, 1, 2, 3]}


def test_a_device_made_anew_under_the_same_imei_gets_what_came_since_the_first_was_deleted(bench: Bench) -> None:
    first, second = (bench.device(name, imei=IMEI) for name in ("first", "second"))
    bench.leave(bench.flespi(range(2), IMEI))
    assert bench.settles()
    bench.put(first)
    bench.released(2)
    bench.registry.remove(first)
    assert bench.at_once(bench.flespi([2], IMEI)) == {"unmapped"}
    bench.leave(bench.flespi(range(2, 4), IMEI))
    bench.leave(bench.flespi(range(4, 6), f"prefixed-{IMEI}"))
    assert bench.settles()
    bench.put(second)
    bench.released(4)
    found = bench.went()
    assert found.pop(("first", "")) == [0, 1]
    assert {device: sorted(readings) for device, readings in found.items()} == {("second", ""): [2, 3, 4, 5]}


def test_a_deleted_devices_own_records_are_no_other_devices_whatever_that_is_called(bench: Bench) -> None:
    """They came by its token, and a token vouches for that one device."""
    bench.leave(bench.readings("device", range(2), "gone"))
    assert bench.settles()
    bench.put(bench.device("anew", external_id=bench.id("gone"), serial=bench.id("gone")))
    assert bench.settles()
    bench.put(bench.device("gone", external_id="its own again"))
    bench.released(2)
    assert bench.went() == {("gone", ""): [0, 1]}


def test_an_external_id_that_is_changed_releases_who_waited_under_the_new_one_only(bench: Bench) -> None:
    # AC-a29
    bench.put(bench.device("d", external_id="none yet"))
    for name, start in (("before", 0), ("after", 10), ("later", 20)):
        bench.leave(bench.readings("generic", range(start, start + 3), externalDeviceId=name))
    assert bench.settles()
    bench.put(bench.device("d", external_id="before"))
    bench.released(3)
    bench.put(bench.device("d", external_id="after"))
    bench.released(3)
    bench.leave(bench.readings("generic", range(3, 5), externalDeviceId="before"))
    assert bench.settles()
    bench.put(bench.device("d", external_id="later"), bench.device("e", external_id="before"))
    bench.released(5)
    assert bench.went() == {("d", ""): [0, 1, 2, 10, 11, 12, 20, 21, 22], ("e", ""): [3, 4]}


def test_one_change_that_maps_two_senders_releases_both_each_in_its_order(bench: Bench) -> None:
    # AC-a41
    by_name = bench.readings("generic", range(100, 120), externalDeviceId="silo")
    by_imei = bench.flespi(range(20), IMEI)
    bench.leave([each for pair in zip(by_name, by_imei, strict=True) for each in pair])
    bench.leave(bench.readings("generic", range(5), externalDeviceId="another"))
    assert bench.settles()
    bench.put(bench.device("d", external_id="silo", imei=IMEI))
    bench.released(40)
    found = bench.went()
    assert found.keys() == {("d", "")}
    readings = found["d", ""]
    assert [n for n in readings if n < 100] == list(range(20))
    assert [n for n in readings if n >= 100] == list(range(100, 120))


def test_a_credential_revoked_while_records_wait_takes_nothing_back(bench: Bench) -> None:
    """It was good when they were accepted: revoking shuts the door for what comes, not for what is in the house."""
    of_gateway, of_tenant = (
        bench.credential("device", "its token", "gateway"),
        bench.credential("generic", "the tenant's"),
    )
    bench.put(bench.device("gateway", gateway=True), of_gateway, of_tenant)
    bench.leave(bench.relayed("gateway", "probe", range(3)))
    bench.leave(bench.readings("generic", range(10, 13), externalDeviceId="silo"))
    assert bench.settles()
    bench.registry.remove(of_gateway)
    bench.registry.remove(of_tenant)
    assert bench.settles()
    bench.put(bench.device("child", parent="gateway", external_id="probe"), bench.device("d", external_id="silo"))
    bench.released(6)
    assert bench.went() == {("child", "gateway"): [0, 1, 2], ("d", ""): [10, 11, 12]}


def test_a_token_in_a_body_names_its_device_for_as_long_as_it_is_one(bench: Bench) -> None:
    # AC-a41: the webhook's own secret opened the door, so an unknown token waits; revoked, it names nobody any more
    bench.put(bench.device("d", external_id="silo"))
    shown = bench.readings("generic", range(3), deviceToken=TOKEN)
    bench.leave(shown)
    assert bench.settles()
    token = bench.credential("device", TOKEN, "d")
    bench.put(token)
    bench.released(3)
    assert bench.went() == {("d", ""): [0, 1, 2]}
    assert bench.at_once(shown) == {"telemetry"}
    bench.registry.remove(token)
    assert bench.at_once(shown) == {"unmapped"}
