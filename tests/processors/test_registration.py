"""Devices made without a person: one for each sender that may have one, found by what the sender says."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.registration import Outcome, attributes_of, is_wanted, register
from processors.sender import Sender
from registry.draft import Draft
from registry.model import DEV_EUI, EXTERNAL_ID, AutoRegistered, Device, Entry, Tenant, TenantSettings, entry_key
from registry.view import RegistryView
from sources.catalog import load_source, source_names
from sources.contract import Identity
from sources.engine import Canonical, canonicalize
from sources.golden import sample_request
from sources.samples import Sample, all_samples

T = "tenant"
DAY = 20_000
IMEI = "352625333222111"
EUI = "0102030405060708"


def sender(*identities: tuple[str, str], source: str = "generic", name: str = "", **more: str) -> Sender:
    given_as = tuple(Identity(kind, value) for kind, value in identities)
    named = name or (identities[0][1] if identities else "")
    return Sender(
        more.get("tenant", T), source, named, more.get("credential_device_id", ""), more.get("child", ""), given_as
    )


class Registry:
    """A view, and the changes that plans make to it."""

    def __init__(self, *entries: Entry, sources: Sequence[str] | None = None) -> None:
        self.view = RegistryView()
        wanted = tuple(source_names() if sources is None else sources)
        self.put(Tenant(id=T, name="T"), TenantSettings(id=T, tenant_id=T, auto_register=wanted), *entries)

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def register(self, *senders: Sender, day: int = DAY, limit: int = 1_000) -> Outcome:
        draft = Draft(self.view)
        outcome = register(draft, senders, day, limit)
        self.put(*(change.after for change in draft.changes if change.after is not None))
        return outcome

    def device_of(self, each: Sender) -> Device:
        found = self.view.device(each.identify(self.view).device_id)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("identities", "attributes"),
    [
        pytest.param([("external_id", "silo-3")], {EXTERNAL_ID: "silo-3"}, id="generic"),
        pytest.param([("token_digest", "ab" * 32)], {}, id="a token says nothing a person could be told"),
        pytest.param(
            [("token_digest", "ab" * 32), ("external_id", "s")], {EXTERNAL_ID: "s"}, id="a token beside an external id"
        ),
        pytest.param([("dev_eui", EUI)], {DEV_EUI: EUI}, id="chirpstack"),
        pytest.param([("dev_eui", EUI), ("external_id", "soil-1")], {DEV_EUI: EUI}, id="ttn"),
        pytest.param([("external_id", "soil-1")], {EXTERNAL_ID: "soil-1"}, id="ttn without a DevEUI"),
        pytest.param(
            [("external_id", IMEI), ("imei", IMEI), ("serial", IMEI)], {EXTERNAL_ID: IMEI, "imei": IMEI}, id="flespi"
        ),
        pytest.param(
            [("external_id", "van 7"), ("imei", "van 7"), ("serial", "van 7")],
            {EXTERNAL_ID: "van 7"},
            id="a name is no IMEI",
        ),
        pytest.param(
            [(kind, value) for value in (f"x-{IMEI}", IMEI) for kind in ("external_id", "imei", "serial")],
            {EXTERNAL_ID: f"x-{IMEI}", "imei": IMEI},
            id="flespi with a prefix",
        ),
        pytest.param(
            [("serial", "131693"), ("imei", IMEI), ("external_id", "131693")],
            {"serial": "131693", "imei": IMEI},
            id="digital matter",
        ),
        pytest.param(
            [("serial", EUI), ("external_id", EUI), ("dev_eui", EUI)],
            {"serial": EUI, DEV_EUI: EUI},
            id="digital matter over LoRaWAN",
        ),
        pytest.param(
            [("iccid", "8944500102198304826")], {"iccid": "8944500102198304826"}, id="a SIM, for want of more"
        ),
        pytest.param(
            [("external_id", "u"), ("serial", "u"), ("name", "u"), ("id", "u")], {EXTERNAL_ID: "u"}, id="autopi"
        ),
        pytest.param(
            [("traccar.device.id", "7")], {}, id="a server's own number is another device's on another server"
        ),
        pytest.param(
            [("external_id", " silo"), ("external_id", "")], {}, id="what the registry would not keep as it is"
        ),
        pytest.param([], {}, id="nothing"),
    ],
)
def test_what_a_sender_says_becomes_the_devices_attributes(
    identities: list[tuple[str, str]], attributes: dict[str, str]
) -> None:
    assert attributes_of(sender(*identities).identities) == attributes


def _senders(source: str, sample: Sample) -> list[Sender]:
    request = sample_request(load_source(source), sample)
    request.tenant_id, request.device_id = T, ""
    made = (each for each in canonicalize(load_source(source), request) if isinstance(each, Canonical))
    return [Sender.of(each, "") for each in made]


@pytest.mark.parametrize("source", sorted(set(source_names()) - {"device"}))
def test_whatever_a_source_reads_its_unknown_devices_can_be_made(source: str) -> None:
    # DM-a19
    found = [each for name, _, sample in all_samples() if name == source for each in _senders(source, sample)]
    registry = Registry()
    wanted = [each for each in found if is_wanted(each, registry.view)]
    assert wanted
    left = {each.identities for each in found if each not in wanted and not each.child}
    kinds = {identity.kind for identities in left for identity in identities}
    assert kinds <= {"token_digest", f"{source}.device.id"}, "the others could be found by what they say"
    outcome = registry.register(*wanted)
    assert not outcome.refused
    assert outcome.created
    for each in wanted:
        assert each.identify(registry.view).device_id
    assert registry.register(*wanted) == Outcome(0, [], [])


def test_only_the_tenants_own_senders_of_wanted_sources_get_a_device() -> None:
    registry = Registry(Tenant(id="other", name="Other"), sources=["generic"])
    assert is_wanted(sender(("external_id", "a")), registry.view)
    for unwanted in (
        sender(("external_id", "a"), source="flespi"),
        sender(("external_id", "a"), tenant="other"),
        sender(("external_id", "a"), tenant="nobody"),
        sender(("external_id", "a"), credential_device_id="gone"),
        sender(("token_digest", "a")),
    ):
        assert not is_wanted(unwanted, registry.view)
    registry.register(
        sender(("external_id", "a"), source="flespi"),
        *(sender(("external_id", "a"), tenant=t) for t in ("other", "no")),
    )
    assert not any(registry.view.devices(tenant.id) for tenant in registry.view.tenants())


def test_a_child_behind_a_gateway_is_never_made() -> None:
    # AC-a17: the child must exist; nor is its gateway made on a child's word
    gateway = Device(id="gateway", tenant_id=T, name="Gateway", gateway=True)
    registry = Registry(gateway)
    for identities in ([("external_id", "gateway")], [("external_id", "new")], []):
        assert not is_wanted(sender(*identities, child="probe"), registry.view)
    assert not is_wanted(sender(credential_device_id="gateway", child="probe", source="device"), registry.view)


def test_what_appeared_meanwhile_is_not_made_again() -> None:
    registry = Registry(Device(id="d", tenant_id=T, name="D", attributes={DEV_EUI: EUI, "imei": IMEI}))
    known = sender(("dev_eui", "01-02-03-04-05-06-07-08"), ("external_id", "soil"), source="ttn")
    assert registry.register(known, sender(("serial", "1"), ("imei", IMEI))) == Outcome(0, [], [])
    assert [each.id for each in registry.view.devices(T)] == ["d"]


def test_senders_of_one_batch_that_name_one_device_get_one() -> None:
    registry = Registry()
    senders = [
        sender(("imei", IMEI), source="flespi"),
        sender(("serial", "7"), source="digital_matter"),
        sender(("serial", "7"), ("imei", IMEI), source="digital_matter"),
        sender(("imei", IMEI), source="traccar"),
    ]
    assert registry.register(*senders).created == 1
    (device,) = registry.view.devices(T)
    assert {each.identify(registry.view).device_id for each in senders} == {device.id}


def test_a_name_that_is_taken_gets_something_that_tells_them_apart() -> None:
    gateway = Device(id="g", tenant_id=T, name="G", gateway=True)
    child = Device(id="c", tenant_id=T, name="behind", parent_id="g", attributes={EXTERNAL_ID: "c1"})
    registry = Registry(Device(id="d", tenant_id=T, name="silo", attributes={EXTERNAL_ID: "x"}), gateway, child)
    first, second = sender(("external_id", "silo")), sender(("serial", "1"), name="silo")
    behind = sender(("external_id", "new"), name="behind")
    assert registry.register(first, second, behind).created == 3
    names = [registry.device_of(each).name for each in (first, second, behind)]
    assert all(name.startswith("silo (") for name in names[:2])
    assert len(set(names)) == 3
    assert names[2] == "behind", "behind the gateway a name is another one's"


def test_the_limit_holds_for_a_tenant_and_day_however_often_it_is_tried() -> None:
    registry = Registry(Tenant(id="B", name="B"), TenantSettings(id="B", tenant_id="B", auto_register=("generic",)))
    senders = [sender(("external_id", f"{n}")) for n in range(8)]
    outcome = registry.register(*senders[:4], limit=5)
    assert (outcome.created, outcome.over_limit) == (4, [])
    outcome = registry.register(*senders, sender(("external_id", "0"), tenant="B"), limit=5)
    assert (outcome.created, len(outcome.over_limit)) == (2, 3), "one of A and one of B"
    assert registry.register(*outcome.over_limit, limit=5).created == 0
    assert registry.register(*outcome.over_limit, day=DAY + 1, limit=5).created == 3
    noted = registry.view.get(AutoRegistered, T)
    assert noted is not None
    assert (noted.day, noted.count) == (DAY + 1, 3)


def test_one_that_cannot_be_stored_costs_itself_only() -> None:
    registry = Registry()
    odd = sender(("external_id", "a\nb"))
    long = sender(("external_id", "x" * 2_000))
    outcome = registry.register(odd, sender(("external_id", "ok")), long)
    assert outcome.created == 1
    assert {each for each, _ in outcome.refused} == {odd, long}
    assert all(reason for _, reason in outcome.refused)


VALUES = st.one_of(st.sampled_from(["a", "b", IMEI, EUI, "01:02:03:04:05:06:07:08", " a", "-"]), st.text(max_size=4))
KINDS = st.sampled_from(
    ["external_id", "dev_eui", "imei", "serial", "iccid", "name", "id", "token_digest", "traccar.device.id", DEV_EUI]
)
SENDERS: Any = st.lists(
    st.builds(
        lambda pairs, name: sender(*pairs, name=name),
        st.lists(st.tuples(KINDS, VALUES), max_size=4),
        st.text(max_size=3),
    ),
    max_size=8,
)


@given(SENDERS)
def test_every_device_that_is_made_is_found_by_its_sender_and_nobody_gets_two(senders: list[Sender]) -> None:
    registry = Registry()
    wanted = [each for each in senders if is_wanted(each, registry.view)]
    outcome = registry.register(*wanted)
    refused = [each for each, _ in outcome.refused]
    assert len(registry.view.devices(T)) == outcome.created <= len(set(wanted))
    for each in wanted:
        assert bool(each.identify(registry.view).device_id) or each in refused
    assert registry.register(*(each for each in wanted if each not in refused)) == Outcome(0, [], [])
