"""The view against a plain reading of the rules: whatever happened before, only the last value per key counts."""

import itertools
import logging
import sys
import threading
from collections.abc import Iterable, Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Destination, Device, Entry, Tenant
from registry.secrets import digest
from registry.view import EVERY_TENANT, UNKNOWN, Identified, RegistryView, entry_key
from sources.contract import Identity

TENANTS = ("a", "b")
DEVICE_IDS = ("d1", "d2", "d3", "d4")
VALUES = ("x", "y", "d1", "d2")
DEV_EUIS = ("00aa", "00-AA", "00 aa", "00:BB", "x")
SECRETS = ("s1", "s2", "sé\udc80")
SOURCES = ("device", "flespi", INTEGRATION)
KINDS = ("id", "external_id", "dev_eui", "imei", "name", "token_digest", "custom1", EXTERNAL_ID, DEV_EUI)

attributes = st.dictionaries(
    st.sampled_from((EXTERNAL_ID, "imei", "custom1", "name", "id", "token_digest")), st.sampled_from(("", *VALUES))
).flatmap(lambda plain: st.one_of(st.just(plain), st.sampled_from(DEV_EUIS).map(lambda eui: {**plain, DEV_EUI: eui})))
entries = st.one_of(
    st.builds(Tenant, id=st.sampled_from(TENANTS), name=st.sampled_from(VALUES)),
    st.builds(
        Device,
        id=st.sampled_from(DEVICE_IDS),
        tenant_id=st.sampled_from(TENANTS),
        name=st.sampled_from(VALUES),
        attributes=attributes,
        gateway=st.booleans(),
        parent_id=st.sampled_from(("", *DEVICE_IDS)),
    ),
    st.builds(
        Credential,
        id=st.sampled_from(("c1", "c2", "c3")),
        tenant_id=st.sampled_from(TENANTS),
        source=st.sampled_from(SOURCES),
        digest=st.sampled_from(SECRETS).map(digest),
        device_id=st.sampled_from(("", *DEVICE_IDS)),
    ),
    st.builds(
        Destination,
        id=st.sampled_from(("w1", "w2")),
        tenant_id=st.sampled_from(TENANTS),
        kind=st.just("webhook"),
        url=st.just("https://example.com/"),
        enabled=st.booleans(),
    ),
)
records = st.one_of(
    entries.map(lambda entry: (entry_key(entry).encode(), msgspec.json.encode(entry))),
    entries.map(lambda entry: (entry_key(entry).encode(), None)),
    st.tuples(st.sampled_from((b"device/d1", b"geofence/g", b"\xff", b"")), st.binary(max_size=8)),
)
histories = st.lists(records, max_size=40)


def viewed(history: Iterable[tuple[bytes, bytes | None]]) -> RegistryView:
    view = RegistryView()
    for key, value in history:
        view.apply(key, value)
    return view


def final_state(history: Iterable[tuple[bytes, bytes | None]]) -> dict[str, Entry]:
    state: dict[str, Entry] = {}
    for key, value in history:
        name = key.decode(errors="replace")
        if value is None:
            state.pop(name, None)
            continue
        try:
            entry = msgspec.json.decode(value, type=Entry)
        except msgspec.DecodeError:
            continue
        if entry_key(entry) == name:
            state[name] = entry
    return state


def rebuilt(state: Mapping[str, Entry]) -> RegistryView:
    return viewed((key.encode(), msgspec.json.encode(entry)) for key, entry in sorted(state.items()))


class Plainly:
    """The rules of identification, read off the entries one by one."""

    def __init__(self, state: Mapping[str, Entry], tenant_id: str) -> None:
        mine = [entry for entry in state.values() if not isinstance(entry, Tenant) and entry.tenant_id == tenant_id]
        self.devices = {
            each.id: each for each in sorted((e for e in mine if isinstance(e, Device)), key=lambda e: e.id)
        }
        self.credentials = sorted((e for e in mine if isinstance(e, Credential)), key=lambda e: e.id)

    def named(self, identity: Identity) -> str:
        if identity.kind == "token_digest":
            bound = [c for c in self.credentials if c.source == "device" and c.device_id and c.digest == identity.value]
            return bound[0].device_id if bound and bound[0].device_id in self.devices else ""
        return next((d.id for d in self.devices.values() if identity.value and self.matches(d, identity)), "")

    @staticmethod
    def matches(device: Device, identity: Identity) -> bool:
        def plain(text: str) -> str:
            return "".join(c for c in text.lower() if c not in "-: ")

        if identity.kind == "id":
            return device.id == identity.value
        if identity.kind == "name":
            return device.name == identity.value
        if identity.kind in ("external_id", EXTERNAL_ID):
            return (device.attributes.get(EXTERNAL_ID) or device.id) == identity.value
        if identity.kind in ("dev_eui", DEV_EUI):
            return plain(device.attributes.get(DEV_EUI, "")) == plain(identity.value) != ""
        return device.attributes.get(identity.kind) == identity.value

    def behind(self, gateway_id: str, child: str) -> Identified:
        if not self.devices[gateway_id].gateway:
            return UNKNOWN
        children = [each for each in self.devices.values() if each.parent_id == gateway_id]
        for kind in ("id", "external_id", "name"):
            for each in children:
                if self.matches(each, Identity(kind, child)):
                    return Identified(each.id, gateway_id, False)
        return Identified("", gateway_id, False)

    def identify(self, credential_device: str, identities: tuple[Identity, ...], child: str) -> Identified:
        named = [name for name in map(self.named, identities) if name]
        if not credential_device:
            if not named:
                return UNKNOWN
            return self.behind(named[0], child) if child else Identified(named[0], "", False)
        if credential_device not in self.devices:
            return UNKNOWN
        if child:
            return self.behind(credential_device, child)
        children = [
            name
            for name in named
            if self.devices[credential_device].gateway and self.devices[name].parent_id == credential_device
        ]
        children = [name for name in children if name != credential_device]
        relayed = children[0] if children else ""
        mismatch = any(name not in (credential_device, relayed) for name in named)
        return (
            Identified(relayed, credential_device, mismatch) if relayed else Identified(credential_device, "", mismatch)
        )


ALONE = [(Identity(kind, value),) for kind in KINDS for value in (*VALUES, "00aa", "00:AA", "-", "", digest("s1"))]
PAIRS = [(Identity("imei", "x"), Identity("external_id", "d2")), (Identity("name", "y"), Identity("imei", "x"))]


@given(history=histories)
@settings(deadline=None, max_examples=150)
def test_any_history_finds_what_the_rules_find_in_its_final_state(history: list[tuple[bytes, bytes | None]]) -> None:
    view, state = viewed(history), final_state(history)
    for tenant_id in TENANTS:
        plainly = Plainly(state, tenant_id)
        for credential_device, identities, child in itertools.product(
            ("", "d1", "d2"), [(), *ALONE, *PAIRS], ("", "x", "d3")
        ):
            found = view.identify(tenant_id, credential_device, identities, child)
            assert found == plainly.identify(credential_device, identities, child), (
                credential_device,
                identities,
                child,
            )
            for device_id in filter(None, (found.device_id, found.gateway_id)):
                device = view.device(device_id)
                assert device is not None
                assert device.tenant_id == tenant_id


@given(history=histories)
@settings(deadline=None)
def test_any_history_lists_the_same_as_building_from_its_final_state(history: list[tuple[bytes, bytes | None]]) -> None:
    view, fresh = viewed(history), rebuilt(final_state(history))
    assert view.tenants() == fresh.tenants()
    for tenant_id in TENANTS:
        assert view.devices(tenant_id) == fresh.devices(tenant_id)
        assert view.credentials(tenant_id) == fresh.credentials(tenant_id)
        assert view.destinations(tenant_id) == fresh.destinations(tenant_id)
        assert view.all_destinations(tenant_id) == fresh.all_destinations(tenant_id)
        assert all(each.enabled for each in view.destinations(tenant_id))
    for source, tenant_secret, secret in itertools.product(("flespi", "device"), (True, False), SECRETS):
        found = view.credential_for(source, tenant_secret, secret)
        assert found == fresh.credential_for(source, tenant_secret, secret)
        fitting = [
            each
            for each in final_state(history).values()
            if isinstance(each, Credential)
            and each.digest == digest(secret)
            and (each.source == source or (tenant_secret and each.source == INTEGRATION))
        ]
        assert (found is None) == (not fitting)
        assert found is None or found in fitting


@given(history=histories)
@settings(deadline=None)
def test_nothing_is_left_when_everything_is_removed(history: list[tuple[bytes, bytes | None]]) -> None:
    view = viewed([*history, *((key.encode(), None) for key in final_state(history))])
    assert not len(view)
    assert not list(view.entries())
    contents = view._contents
    for index in (contents.few, contents.tenancies, contents.tenant_ids, contents.api_keys):
        assert not index
    for shelf in (contents.devices, contents.credentials):
        assert not any(shelf._rows)
        assert not len(shelf._index)
        assert not shelf._contested


def put(view: RegistryView, *given_entries: Entry) -> RegistryView:
    for entry in given_entries:
        view.apply(entry_key(entry), msgspec.json.encode(entry))
    return view


def device(
    device_id: str, tenant_id: str = "a", name: str = "", gateway: bool = False, parent: str = "", **ids: str
) -> Device:
    known = {{"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI}.get(kind, kind): value for kind, value in ids.items()}
    return Device(id=device_id, tenant_id=tenant_id, name=name, attributes=known, gateway=gateway, parent_id=parent)


def test_identities_of_one_tenant_never_find_a_device_of_another() -> None:
    view = put(
        RegistryView(),
        device("d1", "a", name="van", imei="1"),
        Credential(id="c", tenant_id="a", source="device", digest=digest("s"), device_id="d1"),
    )
    for identity in (
        Identity("id", "d1"),
        Identity("external_id", "d1"),
        Identity("name", "van"),
        Identity("imei", "1"),
        Identity("token_digest", digest("s")),
    ):
        assert view.identify("a", "", (identity,), "").device_id == "d1"
        assert view.identify("b", "", (identity,), "") == UNKNOWN
        assert view.identify("", "", (identity,), "") == UNKNOWN
    assert view.identify("b", "d1", (), "") == UNKNOWN


def test_a_child_of_another_tenants_gateway_is_not_found_through_it() -> None:  # AC-a17
    view = put(RegistryView(), device("g", "a", gateway=True), device("c", "b", name="child", parent="g"))
    assert view.identify("a", "g", (), "c") == Identified("", "g", False)
    assert view.identify("b", "", (Identity("id", "g"),), "c") == UNKNOWN


def test_a_child_is_found_by_id_then_external_id_then_name() -> None:  # AC-c11
    view = put(
        RegistryView(),
        device("g", gateway=True),
        device("c1", parent="g", name="c2"),
        device("c2", parent="g", name="c3", external_id="c3"),
        device("c3", parent="g", name="door"),
        device("other", name="shed"),
    )
    by_credential = [view.identify("a", "g", (), child).device_id for child in ("c2", "c3", "door", "shed")]
    assert by_credential == ["c2", "c3", "c3", ""]
    assert view.identify("a", "", (Identity("id", "g"),), "door") == Identified("c3", "g", False)


def test_a_device_that_is_no_gateway_speaks_for_no_child() -> None:  # AC-a17
    view = put(RegistryView(), device("g"), device("c", parent="g"))
    assert view.identify("a", "g", (), "c") == UNKNOWN


def test_a_device_that_is_no_gateway_any_more_does_not_hand_its_records_to_its_former_children() -> None:
    view = put(RegistryView(), device("g", gateway=True), device("c", parent="g", imei="1"))
    assert view.identify("a", "g", (Identity("imei", "1"),), "") == Identified("c", "g", False)
    put(view, device("g"))
    assert view.identify("a", "g", (Identity("imei", "1"),), "") == Identified("g", "", True)


def test_the_credential_wins_over_what_the_message_says() -> None:  # DM-a18
    view = put(RegistryView(), device("d1", serial="1"), device("d2", serial="2"))
    assert view.identify("a", "d1", (Identity("serial", "2"),), "") == Identified("d1", "", True)
    assert view.identify("a", "d1", (Identity("serial", "1"), Identity("serial", "9")), "") == Identified(
        "d1", "", False
    )


def test_a_credential_that_outlived_its_device_does_not_let_the_message_choose() -> None:
    view = put(RegistryView(), device("d2", serial="2"))
    assert view.identify("a", "gone", (Identity("serial", "2"),), "") == UNKNOWN


@pytest.mark.parametrize(
    "written", ["70B3D57ED0001234", "70-b3-d5-7e-d0-00-12-34", "70:B3:D5:7E:D0:00:12:34", "70b3 d57e d000 1234"]
)
def test_a_dev_eui_is_compared_without_case_and_separators(written: str) -> None:  # AC-a32
    view = put(RegistryView(), device("d1", dev_eui="70B3-D57E-D000-1234"))
    assert view.identify("a", "", (Identity("dev_eui", written),), "").device_id == "d1"


def test_a_value_two_devices_claim_finds_the_first_by_id_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    view = RegistryView()
    with caplog.at_level(logging.WARNING):
        put(view, device("d3", imei="1"), device("d2", imei="1"), device("d1", imei="1"))
    assert len([record for record in caplog.records if "imei" in record.getMessage()]) == 1
    assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d1"
    view.apply("device/d1", None)
    assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d2"
    put(view, device("d2", imei="2"))
    assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d3"


def test_a_revoked_credential_opens_nothing_at_once() -> None:
    view = put(RegistryView(), Credential(id="c", tenant_id="a", source="flespi", digest=digest("s")))
    assert view.credential_for("flespi", False, "s") is not None
    assert view.credential_for("autopi", False, "s") is None
    view.apply("credential/c", None)
    assert view.credential_for("flespi", False, "s") is None


def test_a_rotated_secret_replaces_the_former_one() -> None:
    view = RegistryView()
    for secret in ("old", "new"):
        put(view, Credential(id="c", tenant_id="a", source=INTEGRATION, digest=digest(secret)))
    assert view.credential_for("ttn", True, "old") is None
    assert view.credential_for("ttn", True, "new") is not None
    assert view.credential_for("ttn", False, "new") is None


@given(secret=st.text())
def test_no_text_can_break_the_comparison(secret: str) -> None:
    view = put(RegistryView(), Credential(id="c", tenant_id="a", source="flespi", digest=digest("")))
    assert view.credential_for("flespi", True, secret) is None  # AC-a24: an empty secret never matches


@given(key=st.one_of(st.binary(), st.text()), value=st.one_of(st.none(), st.binary()))
def test_an_entry_that_cannot_be_read_is_skipped(key: bytes | str, value: bytes | None) -> None:
    view = put(RegistryView(), device("d1", imei="1"))
    view.apply(key, value)
    view.apply("device/d1", b"[" * 5000)
    view.apply("device/d1", b'{"type":"device","id":"d2","tenant_id":"a","name":""}')
    assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d1"


def test_what_cannot_be_read_is_logged_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        RegistryView().apply("credential/c", b'{"type":"credential","id":"c","digest":"5eC3eT"')
        RegistryView().apply("credential/c", b'{"type":"5eC3eT"}')
    assert len(caplog.records) == 2
    assert "credential/c" in caplog.text
    assert "5eC3eT" not in caplog.text


def test_a_device_that_stays_is_never_missed_while_others_change() -> None:
    """A reader in another thread: an update must not open a gap in which the device is unknown."""
    view = put(RegistryView(), device("d1", imei="1", serial="0"))
    versions = [msgspec.json.encode(device("d1", name=str(n), imei="1", serial=str(n % 7))) for n in range(200)]
    claim, free = msgspec.json.encode(device("d2", imei="1")), None
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in versions:
                view.apply("device/d1", value)
                view.apply("device/d2", claim)
                view.apply("device/d2", free)

    writer = threading.Thread(target=write)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer.start()
    try:
        for _ in range(100_000):
            assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d1"
    finally:
        sys.setswitchinterval(usual)
        stop.set()
        writer.join()


def test_adopting_another_view_leaves_nothing_of_the_former() -> None:
    view = put(RegistryView(), device("d1", imei="1"), Tenant(id="a", name="A"))
    view.adopt(put(RegistryView(), device("d2", imei="2")))
    assert view.identify("a", "", (Identity("imei", "1"),), "") == UNKNOWN
    assert view.identify("a", "", (Identity("imei", "2"),), "").device_id == "d2"
    assert not view.tenants()


def _identified(view: RegistryView, tenant: str) -> list[Identified]:
    """Ask for whatever a message of a tenant could name: an identity, a credential's device, a child of either."""
    values = {*VALUES, *DEVICE_IDS, *DEV_EUIS, *map(digest, SECRETS)}
    named = [view.identify(tenant, "", (Identity(kind, value),), "") for kind in KINDS for value in sorted(values)]
    children = [
        view.identify(tenant, own, (Identity("id", gateway),), child)
        for own in ("", *DEVICE_IDS)
        for gateway in DEVICE_IDS
        for child in ("", *DEVICE_IDS, *VALUES)
    ]
    return named + children


@given(st.lists(records, max_size=12))
def test_whoever_watches_is_told_of_every_tenant_whose_messages_may_now_mean_another_device(
    written: list[tuple[bytes, bytes | None]],
) -> None:
    # AC-a41
    view, told = RegistryView(), set[str]()
    view.watch(told.add)
    for key, value in written:
        before = {tenant: _identified(view, tenant) for tenant in TENANTS}
        told.clear()
        view.apply(key, value)
        changed = {tenant for tenant in TENANTS if _identified(view, tenant) != before[tenant]}
        assert changed <= told
        assert not key.startswith(b"destination/") or not told, "where events go concerns no message"
    told.clear()
    view.adopt(RegistryView())
    assert told == {EVERY_TENANT}
