"""The view against a plain reading of the rules: whatever happened before, only the last value per key counts."""

import itertools
import logging
import sys
import threading
from collections.abc import Hashable, Iterable, Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import identify as identify_module
from registry import index as index_module
from registry import view as view_module
from registry.index import Index
from registry.model import (
    DEV_EUI,
    EXTERNAL_ID,
    INTEGRATION,
    ApiKey,
    Circle,
    Credential,
    Destination,
    Device,
    Entry,
    Geofence,
    Owned,
    Tenant,
    TenantSettings,
)
from registry.packing import CredentialRow
from registry.secrets import digest
from registry.view import EVERY_TENANT, UNKNOWN, Identified, RegistryView, entry_key
from schemas.times import now_us
from sources.contract import Identity

TENANTS = ("a", "b")
DEVICE_IDS = ("d1", "d2", "d3", "d4")
VALUES = ("x", "y", "d1", "d2")
DEV_EUIS = ("00aa", "00-AA", "00 aa", "00:BB", "x")
SECRETS = ("s1", "s2", "sé\udc80")
SOURCES = ("device", "flespi", INTEGRATION)
LONG_AGO, SOME_DAY = 1, 2**60
OWNED: tuple[type[Owned], ...] = (Device, Credential, Destination, Geofence, TenantSettings, ApiKey)
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
        former_digest=st.sampled_from(("", *map(digest, SECRETS))),
        former_until_us=st.sampled_from((LONG_AGO, SOME_DAY)),
    ),
    st.builds(
        Geofence,
        id=st.sampled_from(("f1", "f2")),
        tenant_id=st.sampled_from(TENANTS),
        name=st.sampled_from(VALUES),
        area=st.just(Circle(0.0, 0.0, 1.0)),
    ),
    st.builds(
        TenantSettings,
        id=st.sampled_from(TENANTS),
        tenant_id=st.sampled_from(TENANTS),
        auto_register=st.sampled_from(((), ("ttn",))),
    ),
    st.builds(
        ApiKey,
        id=st.sampled_from(("k1", "k2", "k3")),
        tenant_id=st.sampled_from(("", *TENANTS)),
        name=st.just(""),
        digest=st.sampled_from(SECRETS).map(digest),
        expires_us=st.sampled_from((0, LONG_AGO, SOME_DAY)),
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
    st.tuples(st.sampled_from((b"device/d1", b"geofence/g", b"drone/d1", b"\xff", b"")), st.binary(max_size=8)),
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
            bound = [c for c in self.credentials if c.source == "device" and c.device_id]
            bound = [c for c in bound if identity.value and c.opens_with(identity.value, now_us())]
            return bound[0].device_id if bound and bound[0].device_id in self.devices else ""
        return next((d.id for d in self.devices.values() if identity.value and self.matches(d, identity)), "")

    def claimants(self, identity: Identity) -> tuple[str, ...]:
        if not identity.value:
            return ()
        if identity.kind == "token_digest":
            bound = [c for c in self.credentials if c.source == "device" and c.device_id]
            return tuple(c.id for c in bound if identity.value in (c.digest, c.former_digest))
        return tuple(each.id for each in self.devices.values() if self.matches(each, identity))

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
    assert_found_as_the_rules_say(history)


@given(history=histories)
@settings(deadline=None, max_examples=20)
def test_what_is_found_does_not_rest_on_hashes(history: list[tuple[bytes, bytes | None]]) -> None:
    """Every key has the same hash, other tenants' keys too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "hash", lambda _: 7, raising=False)
        assert_found_as_the_rules_say(history)


def assert_found_as_the_rules_say(history: list[tuple[bytes, bytes | None]]) -> None:
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
        for (identity,) in ALONE:
            assert view.claimants(tenant_id, identity.kind, identity.value) == plainly.claimants(identity)


@given(history=histories, listed_after=st.integers(0, 40))
@settings(deadline=None)
def test_any_history_lists_what_is_in_its_final_state(
    history: list[tuple[bytes, bytes | None]], listed_after: int
) -> None:
    """What is kept for listing is built at some moment in between, and kept up to date from then on."""
    view, state = RegistryView(), final_state(history)
    for number, (key, value) in enumerate(history):
        if number == listed_after:
            lists(view)
        view.apply(key, value)
    assert {entry_key(entry): entry for entry in view.entries()} == state
    assert len(view) == len(list(view.entries()))
    assert lists(view) == plain_lists(state)


def lists(view: RegistryView) -> list[object]:
    found: list[object] = [view.tenants()]
    for tenant_id in ("", *TENANTS):
        for kind in OWNED:
            owned = view.owned(kind, tenant_id)
            pages = [view.page(kind, tenant_id, after, 2) for after in ("", "d1", "d2", "z")]
            found.append((owned, pages, view.count(kind, tenant_id)))
        found += [view.devices(tenant_id), view.credentials(tenant_id), view.all_destinations(tenant_id)]
        found += [view.destinations(tenant_id), view.settings_of(tenant_id)]
    return found + [(view.children(each), view.credentials_of(each)) for each in DEVICE_IDS]


def plain_lists(state: Mapping[str, Entry]) -> list[object]:
    ordered = [each for _, each in sorted(state.items())]
    found: list[object] = [tuple(each for each in ordered if isinstance(each, Tenant))]
    for tenant_id in ("", *TENANTS):
        mine = [each for each in ordered if not isinstance(each, Tenant) and each.tenant_id == tenant_id]
        kinds = {kind: tuple(each for each in mine if isinstance(each, kind)) for kind in OWNED}
        for owned in kinds.values():
            pages = [[each for each in owned if each.id > after][:2] for after in ("", "d1", "d2", "z")]
            found.append((owned, pages, len(owned)))
        found += [kinds[Device], kinds[Credential], kinds[Destination]]
        found.append(tuple(each for each in kinds[Destination] if isinstance(each, Destination) and each.enabled))
        settings = [each for each in kinds[TenantSettings] if each.id == tenant_id]
        found.append(settings[0] if settings else TenantSettings(id=tenant_id, tenant_id=tenant_id, version=0))
    for device_id in DEVICE_IDS:
        device = state.get(f"device/{device_id}")
        near = [] if device is None else [each for each in ordered if _of(each) == _of(device)]
        children = tuple(each.id for each in near if isinstance(each, Device) and each.parent_id == device_id)
        bound = tuple(each for each in near if isinstance(each, Credential) and each.device_id == device_id)
        found.append((children, bound))
    return found


def _of(entry: Entry) -> str:
    return entry.id if isinstance(entry, Tenant) else entry.tenant_id


@given(history=histories)
@settings(deadline=None)
def test_any_history_lets_in_whom_its_final_state_lets_in(history: list[tuple[bytes, bytes | None]]) -> None:
    view, state = RegistryView(), final_state(history)
    for key, value in history:
        view.apply(key, value)
        view.credential_for("flespi", True, "s1")  # whatever is remembered of it must not outlive the next change
    by_id = [each for _, each in sorted(state.items())]
    for source, tenant_secret, secret in itertools.product(("flespi", "device"), (True, False), ("", *SECRETS)):
        fitting = [
            each
            for each in by_id
            if isinstance(each, Credential)
            and secret
            and each.opens_with(digest(secret), now_us())
            and (each.source == source or (tenant_secret and each.source == INTEGRATION))
        ]
        for _ in range(2):
            assert view.credential_for(source, tenant_secret, secret) == (fitting[0] if fitting else None)
    for secret in ("", *SECRETS):
        keys = [each for each in by_id if isinstance(each, ApiKey) and secret and each.digest == digest(secret)]
        keys = [each for each in keys if not each.expires_us or each.expires_us > now_us()]
        assert view.api_key_for(secret) == (keys[0] if keys else None)


@given(history=histories)
@settings(deadline=None)
def test_nothing_is_left_when_everything_is_removed(history: list[tuple[bytes, bytes | None]]) -> None:
    view = viewed([*history, *((key.encode(), None) for key in final_state(history))])
    assert not len(view)
    assert not list(view.entries())
    contents = view._contents
    for index in (contents.tenants, contents.few, contents.tenancies, contents.tenant_ids, contents.api_keys):
        assert not index
    for shelf in (contents.devices, contents.credentials):
        assert not any(shelf._rows)
        assert not len(shelf._index)
        assert not shelf.contested


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


def test_a_former_secret_opens_and_names_its_device_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # AC-b09
    rotated = Credential(
        id="c",
        tenant_id="a",
        source="device",
        digest=digest("new"),
        device_id="d1",
        former_digest=digest("old"),
        former_until_us=1000,
    )
    view = put(RegistryView(), device("d1"), rotated)
    for now, opens in ((999, True), (1000, False)):
        for module in (view_module, identify_module):
            monkeypatch.setattr(module, "now_us", lambda now=now: now)
        assert (view.credential_for("device", False, "old") == rotated) == opens
        token = Identity("token_digest", digest("old"))
        assert (view.identify("a", "", (token,), "").device_id == "d1") == opens
        assert view.credential_for("device", False, "new") == rotated
        assert view.identify("a", "", (Identity("token_digest", digest("new")),), "").device_id == "d1"
        assert view.identify("b", "", (token,), "") == UNKNOWN


def test_an_api_key_is_found_by_its_secret_until_it_expires_or_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ApiKey(id="k", tenant_id="a", name="ci", digest=digest("s"), expires_us=1000)
    view = put(RegistryView(), key)
    monkeypatch.setattr(view_module, "now_us", lambda: 999)
    assert view.api_key_for("s") == key
    assert view.api_key_for("") is None
    assert view.api_key_for("t\udc80") is None
    monkeypatch.setattr(view_module, "now_us", lambda: 1000)
    assert view.api_key_for("s") is None
    put(view, msgspec.structs.replace(key, expires_us=0))
    assert view.api_key_for("s") is not None
    view.apply("api_key/k", None)
    assert view.api_key_for("s") is None


def test_a_revoked_credential_opens_nothing_though_others_ask_for_it_at_that_very_moment() -> None:
    """What one reader remembers for the others must not outlive the change that was made meanwhile."""
    view, stop = RegistryView(), threading.Event()
    given_out = Credential(id="c", tenant_id="a", source="flespi", digest=digest("s"))

    def ask() -> None:
        while not stop.is_set():
            view.credential_for("flespi", False, "s")

    readers = [threading.Thread(target=ask) for _ in range(3)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for reader in readers:
        reader.start()
    try:
        for _ in range(2000):
            put(view, given_out)
            assert view.credential_for("flespi", False, "s") is not None
            view.apply("credential/c", None)
            assert view.credential_for("flespi", False, "s") is None
    finally:
        sys.setswitchinterval(usual)
        stop.set()
        for reader in readers:
            reader.join()


@pytest.mark.parametrize("is_full", [False, True])
def test_what_a_reader_found_before_a_revocation_is_not_remembered_after_it(
    is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Credential(id="o", tenant_id="a", source="flespi", digest=digest("other"))
    view = put(RegistryView(), other, Credential(id="c", tenant_id="a", source="flespi", digest=digest("s")))
    view.credential_for("flespi", False, "other")
    monkeypatch.setattr(view_module, "_REMEMBERED", 1 if is_full else 10)
    unpack = view._contents.credential

    def revoked_meanwhile(row: CredentialRow | None) -> Credential | None:
        found = unpack(row)
        view.apply("credential/c", None)
        return found

    monkeypatch.setattr(view._contents, "credential", revoked_meanwhile)
    view.credential_for("flespi", False, "s")
    assert view.credential_for("flespi", False, "s") is None


def test_a_reader_overtaken_by_the_writer_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    view = put(RegistryView(), device("d1", imei="1"), device("d2", imei="1"))
    first, candidates = Index.first, Index.candidates
    pending = ["device/d1"]

    def overtaken(index: Index, key: Hashable) -> list[int]:
        found = candidates(index, key)
        if pending and key != "d1":
            view.apply(pending.pop(), None)
        return found

    monkeypatch.setattr(Index, "first", lambda index, key: first(index, key) if key == "d1" else 2**31)
    monkeypatch.setattr(Index, "candidates", overtaken)
    view._contents.devices._rows = Absent(view._contents.devices._rows)
    assert view.identify("a", "", (Identity("imei", "1"),), "").device_id == "d2"
    assert not pending


class Absent(list[bytes | None]):
    """Rows of which the last is gone."""

    def __getitem__(self, number: int) -> bytes | None:  # type: ignore[override]
        return None if number == 2**31 else super().__getitem__(number)


def test_only_so_many_secrets_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "_REMEMBERED", 5)
    secrets = [str(number) for number in range(20)]
    made = [Credential(id=each, tenant_id="a", source="flespi", digest=digest(each)) for each in secrets]
    view = put(RegistryView(), *made)
    for each, credential in zip(secrets, made, strict=True):
        assert view.credential_for("flespi", False, each) == credential
        assert view.credential_for("flespi", False, f"no {each}") is None
        assert len(view._contents.opening) <= 5


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


def test_a_reader_finds_every_device_while_the_index_grows_and_shrinks_under_it() -> None:
    """The first by id of those that claim a value changes all the time, tables are exchanged, places are given anew."""
    view = put(RegistryView(), *(device(f"d{n}", imei=str(n), serial="shared") for n in range(50)))
    stop = threading.Event()
    many = [device(f"c{n}", imei=f"c{n}", serial="shared" if n % 2 else str(n)) for n in range(3000)]

    def write() -> None:
        while not stop.is_set():
            put(view, *many)
            for each in many:
                view.apply(entry_key(each), None)

    writer = threading.Thread(target=write)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer.start()
    try:
        for turn in range(60_000):
            number = turn % 50
            assert view.identify("a", "", (Identity("imei", str(number)),), "").device_id == f"d{number}"
            assert view.identify("a", "", (Identity("serial", "shared"),), "").device_id
            assert view.identify("a", f"d{number}", (), "").device_id == f"d{number}"
    finally:
        sys.setswitchinterval(usual)
        stop.set()
        writer.join()


def test_a_value_that_thousands_share_costs_no_more_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in rows read: with a search through the others it would be millions."""
    view, reads, many = RegistryView(), [0], 5000
    decode = view._contents.devices._decode

    def counted(packed: bytes) -> object:
        reads[0] += 1
        return decode(packed)

    monkeypatch.setattr(view._contents.devices, "_decode", counted)
    ids = [f"{(number * 7919) % many:05}" for number in range(many)]
    put(view, *(device(each, "a", "the same", parent="g", custom1="the same") for each in ids))
    assert reads[0] < 10 * many
    reads[0] = 0
    assert view.identify("a", "", (Identity("custom1", "the same"),), "").device_id == "00000"
    assert view.identify("a", "g", (), "the same") == UNKNOWN
    assert reads[0] < 10
    for each in sorted(ids)[:-1]:  # whoever is found goes
        view.apply(f"device/{each}", None)
    assert reads[0] < 20 * many
    assert view.identify("a", "", (Identity("name", "the same"),), "").device_id == max(ids)


def test_a_page_reads_no_more_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    view = put(RegistryView(), *(device(f"{number:05}") for number in range(5000)))
    assert [each.id for each in view.page(Device, "a", "", 2)] == ["00000", "00001"]
    read: list[str] = []
    get = view._contents.get

    def noted(kind: type[Device], device_id: str) -> Device | None:
        read.append(device_id)
        return get(kind, device_id)

    monkeypatch.setattr(view._contents, "get", noted)
    monkeypatch.setattr(type(view._contents.devices), "__iter__", None)  # going through all of them again would fail
    put(view, device("02500x"), device("9"))
    view.apply("device/02502", None)
    assert [each.id for each in view.page(Device, "a", "02500", 3)] == ["02500x", "02501", "02503"]
    assert [each.id for each in view.page(Device, "a", "04998", 3)] == ["04999", "9"]
    assert view.page(Device, "b", "", 3) == []
    assert len(read) == 5


def test_entries_and_fields_of_a_later_version_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    view = RegistryView()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            view.apply(f"drone/{number}", b'{"type":"drone","id":"%d","wings":4}' % number)
        view.apply("device/d1", b'{"type":"device","id":"d1","tenant_id":"a","name":"van","colour":{"r":1}}')
        view.apply("drone/1", None)
    assert len(caplog.records) == 1
    assert list(view.entries()) == [device("d1", name="van")]
    assert view.identify("a", "", (Identity("name", "van"),), "").device_id == "d1"


def test_an_empty_registry_is_a_registry() -> None:
    assert len(RegistryView()) == 0
    assert RegistryView()


def test_a_childs_gateway_lists_it_only_within_one_tenant() -> None:  # AC-a17
    view = put(
        RegistryView(),
        device("g", "a", gateway=True),
        device("c2", "a", parent="g"),
        device("c1", "a", parent="g"),
        device("foreign", "b", parent="g"),
        Credential(id="k", tenant_id="a", source="device", digest=digest("s"), device_id="c1"),
        Credential(id="l", tenant_id="b", source="device", digest=digest("t"), device_id="c1"),
    )
    assert view.children("g") == ("c1", "c2")
    assert view.children("gone") == ()
    assert [each.id for each in view.credentials_of("c1")] == ["k"]
    put(view, device("c2", "a"), device("c3", "a", parent="g"))
    view.apply("credential/k", None)
    assert view.children("g") == ("c1", "c3")
    assert view.credentials_of("c1") == ()


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
        before = {tenant: (_identified(view, tenant), view.settings_of(tenant)) for tenant in TENANTS}
        told.clear()
        view.apply(key, value)
        after = {tenant: (_identified(view, tenant), view.settings_of(tenant)) for tenant in TENANTS}
        changed = {tenant for tenant in TENANTS if after[tenant] != before[tenant]}
        assert changed <= told
        silent = key.partition(b"/")[0] not in (b"device", b"credential", b"settings")
        assert not silent or not told, "this concerns no message"
    told.clear()
    view.adopt(RegistryView())
    assert told == {EVERY_TENANT}
