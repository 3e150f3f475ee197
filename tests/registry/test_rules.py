"""What may enter the registry, and what is refused with a reason."""

import sys
import unicodedata

import msgspec
import pytest

from registry.draft import Draft
from registry.errors import Conflict, NotFound, RegistryRefused, Stale
from registry.model import (
    DEV_EUI,
    EXTERNAL_ID,
    INTEGRATION,
    Circle,
    Credential,
    Device,
    Polygon,
    Tenant,
    TenantSettings,
    integration_id,
)
from registry.rules.access import (
    create_api_key,
    create_credential,
    grants,
    rotate_credential,
    rotate_integration_secret,
)
from registry.rules.devices import change_device, create_device, find_device, remove_device
from registry.rules.places import check_area, check_psk, create_destination
from registry.rules.tenants import change_settings, create_tenant, find_tenant, integration_secret, remove_tenant
from registry.rules.texts import has_control
from registry.secrets import digest
from registry.view import RegistryView, entry_key
from sources.catalog import source_names

A, B = Tenant(id="a", name="Acme"), Tenant(id="b", name="Beta")


@pytest.fixture
def view() -> RegistryView:
    made = RegistryView()
    for entry in (
        A,
        B,
        Device(id="g", tenant_id="a", name="gate", gateway=True, attributes={"imei": "1", EXTERNAL_ID: "ext"}),
        Device(id="g2", tenant_id="a", name="gate 2", gateway=True),
        Device(id="c", tenant_id="a", name="child", parent_id="g", attributes={DEV_EUI: "70b3d57ed0001234"}),
        Device(id="theirs", tenant_id="b", name="theirs", gateway=True, attributes={"serial": "9"}),
    ):
        made.apply(entry_key(entry), msgspec.json.encode(entry))
    return made


def test_the_external_id_is_the_device_id_unless_given(view: RegistryView) -> None:  # AC-b04
    made = create_device(Draft(view), A, "van", {"imei": " 2 ", "serial": ""})
    assert made.attributes == {"imei": "2", EXTERNAL_ID: made.id}
    assert create_device(Draft(view), A, "van", {EXTERNAL_ID: "v"}).attributes == {EXTERNAL_ID: "v"}


@pytest.mark.parametrize("written", ["70B3D57ED0009999", "70-b3-d5-7e-d0-00-99-99", "70:B3:D5:7E:D0:00:99:99"])
def test_a_dev_eui_is_stored_in_one_form(view: RegistryView, written: str) -> None:
    assert create_device(Draft(view), A, "van", {DEV_EUI: written}).attributes[DEV_EUI] == "70b3d57ed0009999"


@pytest.mark.parametrize(
    "written", ["70B3D57ED000999", "70B3D57ED00099990", "70B3D57ED000999G", "٧0B3D57ED0009999", "-"]
)
def test_what_is_no_dev_eui_is_refused(view: RegistryView, written: str) -> None:
    with pytest.raises(RegistryRefused, match="DevEUI"):
        create_device(Draft(view), A, "van", {DEV_EUI: written})


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"imei": "1"}, "imei '1' is taken by device g"),
        ({EXTERNAL_ID: "ext"}, "external_id"),
        ({EXTERNAL_ID: "g2"}, "external_id"),
        ({DEV_EUI: "70:B3:D5:7E:D0:00:12:34"}, "dev_eui"),
        ({"serial": "1\n2"}, "control characters"),
        ({"serial": "\udc80"}, "control characters"),
    ],
)
def test_an_id_already_taken_is_refused(view: RegistryView, attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(RegistryRefused, match=reason):
        create_device(Draft(view), A, "van", attributes)


def test_tenants_may_use_the_same_ids(view: RegistryView) -> None:
    assert create_device(Draft(view), A, "theirs", {"serial": "9"}).tenant_id == "a"


@pytest.mark.parametrize("device_id", ["c", "theirs", "", "a/b", "a b", "x" * 201, "a\u00a0b"])
def test_an_unusable_device_id_is_refused(view: RegistryView, device_id: str) -> None:
    with pytest.raises(RegistryRefused):
        create_device(Draft(view), A, "van", {}, wanted_id=device_id)


def test_names_are_unique_among_siblings_only(view: RegistryView) -> None:
    assert create_device(Draft(view), A, "child", {}, parent="g2").parent_id == "g2"
    for name, parent in (("child", "g"), ("gate", None), ("  ", None)):
        with pytest.raises(RegistryRefused):
            create_device(Draft(view), A, name, {}, parent=parent)


@pytest.mark.parametrize(
    ("parent", "gateway", "reason"),
    [
        ("nobody", False, "no device 'nobody'"),
        ("theirs", False, "no device 'theirs'"),
        ("child", False, "is no gateway"),
        ("gate", True, "one level only"),
    ],
)
def test_a_parent_is_a_gateway_of_the_same_tenant_one_level_up(  # AC-a17
    view: RegistryView, parent: str, gateway: bool, reason: str
) -> None:
    with pytest.raises(RegistryRefused, match=reason):
        create_device(Draft(view), A, "new", {}, parent=parent, gateway=gateway)


def test_tenants_and_devices_are_found_by_id_or_name(view: RegistryView) -> None:
    assert find_tenant(view, "a") is find_tenant(view, "Acme")
    assert find_tenant(view, B) == B
    assert find_device(view, A, "child").id == find_device(view, A, "c").id == "c"
    with pytest.raises(RegistryRefused, match="tenant list"):
        find_tenant(view, "nobody")


def test_a_name_that_several_devices_have_is_not_guessed_at(view: RegistryView) -> None:
    twin = create_device(Draft(view), A, "child", {}, parent="g2")
    view.apply(entry_key(twin), msgspec.json.encode(twin))
    with pytest.raises(RegistryRefused, match="give the id"):
        find_device(view, A, "child")


@pytest.mark.parametrize(
    ("name", "tenant_id"), [("Acme", None), ("a", None), ("New", "a"), ("New", "Acme"), ("", None)]
)
def test_a_tenant_is_not_created_twice(view: RegistryView, name: str, tenant_id: str | None) -> None:
    with pytest.raises(RegistryRefused):
        create_tenant(Draft(view), name, tenant_id)


def test_an_unknown_source_is_refused_with_those_there_are() -> None:
    with pytest.raises(RegistryRefused, match=", ".join(source_names())):
        create_credential(Draft(RegistryView()), A, "nope")


def test_the_integration_secret_belongs_to_no_single_device(view: RegistryView) -> None:
    with pytest.raises(RegistryRefused, match="no source 'integration'"):
        create_credential(Draft(view), A, INTEGRATION, view.device("c"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "host/path",
        "http://",
        "https:///path",
        "http://host:99999/",
        "http://a b/",
        "http://u:p@host/",
        "http://h/\r\nX: y",
        "javascript:alert(1)",
        "",
    ],
)
def test_what_is_no_webhook_url_is_refused(url: str) -> None:
    with pytest.raises(RegistryRefused):
        create_destination(Draft(RegistryView()), A, "webhook", url, (), "")


@pytest.mark.parametrize("url", ["http://host", "https://host:8443/path?a=b", "http://127.0.0.1:9/", "https://[::1]/x"])
def test_a_webhook_url_is_kept_as_it_is(url: str) -> None:
    made = create_destination(Draft(RegistryView()), A, "webhook", url, ("a", "b", "a"), "")
    assert made.url == url
    assert made.types == ("a", "b")


@pytest.mark.parametrize("psk", ["a\rb", "a\nb", "a\r\nX-Other: 1", "\0", "\x7f", "\x85"])
def test_a_psk_with_control_characters_is_refused(psk: str) -> None:  # BT-c06
    with pytest.raises(RegistryRefused, match="PSK"):
        check_psk(psk)


def stored(view: RegistryView, draft: Draft) -> None:
    """Do to the view what a commit of the draft does."""
    for change in draft.changes:
        view.apply(change.key, None if change.after is None else msgspec.json.encode(change.after))


def test_every_change_raises_the_version_and_one_that_says_nothing_new_does_not(view: RegistryView) -> None:
    device = find_device(view, A, "g")
    draft = Draft(view)
    renamed = change_device(draft, device, name="gate 1")
    assert (renamed.version, renamed.name, renamed.attributes) == (device.version + 1, "gate 1", device.attributes)
    stored(view, draft)
    unchanged = Draft(view)
    assert change_device(unchanged, renamed, name="gate 1") == renamed
    assert not unchanged.changes


def test_a_change_made_from_an_older_version_is_stale(view: RegistryView) -> None:
    device = find_device(view, A, "g")
    draft = Draft(view)
    change_device(draft, device, name="first", version=device.version)
    stored(view, draft)
    with pytest.raises(Stale, match="version 2") as refused:
        change_device(Draft(view), device, name="second", version=device.version)
    assert refused.value.current == 2
    with pytest.raises(Stale):
        remove_device(Draft(view), find_device(view, A, "c"), version=7)


def test_a_dev_eui_can_be_set_changed_and_taken_away_later(view: RegistryView) -> None:  # AC-b05
    draft = Draft(view)
    device = find_device(view, A, "g")
    device = change_device(draft, device, attributes={DEV_EUI: "70-B3-D5-7E-D0-00-99-99"})
    assert device.attributes == {"imei": "1", EXTERNAL_ID: "ext", DEV_EUI: "70b3d57ed0009999"}
    with pytest.raises(Conflict, match="dev_eui"):
        change_device(draft, device, attributes={DEV_EUI: "70b3d57ed0001234"})
    assert change_device(draft, device, attributes={DEV_EUI: None}).attributes == {"imei": "1", EXTERNAL_ID: "ext"}


def test_a_device_keeps_its_own_ids_when_it_is_changed(view: RegistryView) -> None:
    device = find_device(view, A, "g")
    assert change_device(Draft(view), device, attributes={"imei": "1", "custom1": "x"}).attributes["custom1"] == "x"


def test_the_parent_gateway_is_set_and_changed_under_the_same_rules(view: RegistryView) -> None:  # AC-b06
    child = find_device(view, A, "c")
    assert change_device(Draft(view), child, parent="g2").parent_id == "g2"
    assert change_device(Draft(view), child, parent=None).parent_id == ""
    assert change_device(Draft(view), child, parent=None, gateway=True).gateway
    with pytest.raises(RegistryRefused, match="one level"):
        change_device(Draft(view), child, gateway=True)
    with pytest.raises(RegistryRefused, match="one level"):
        change_device(Draft(view), find_device(view, A, "g2"), parent="g")
    with pytest.raises(RegistryRefused, match="one level"):
        change_device(Draft(view), find_device(view, A, "g2"), parent="g2")
    with pytest.raises(NotFound):
        change_device(Draft(view), child, parent="theirs")


def test_a_gateway_with_devices_behind_it_stays_one_and_stays(view: RegistryView) -> None:  # AC-b06
    gate = find_device(view, A, "g")
    with pytest.raises(Conflict, match="devices behind it"):
        change_device(Draft(view), gate, gateway=False)
    with pytest.raises(Conflict, match="1 devices behind it"):
        remove_device(Draft(view), gate)
    draft = Draft(view)
    remove_device(draft, find_device(view, A, "c"))
    remove_device(draft, gate)
    assert [change.key for change in draft.changes] == ["device/c", "device/g"]


def test_a_removed_device_takes_its_credentials_along(view: RegistryView) -> None:
    draft = Draft(view)
    created, _ = create_credential(draft, A, "device", find_device(view, A, "g2"))
    other, _ = create_credential(draft, A, "device", find_device(view, A, "c"))
    stored(view, draft)
    draft = Draft(view)
    remove_device(draft, find_device(view, A, "g2"))
    assert {change.key for change in draft.changes} == {"device/g2", f"credential/{created.id}"}
    stored(view, draft)
    assert view.credential(other.id) == other


def test_two_rows_of_one_draft_cannot_claim_one_id(view: RegistryView) -> None:
    draft = Draft(view)
    create_device(draft, A, "one", {"imei": "77"})
    with pytest.raises(Conflict, match="imei"):
        create_device(draft, A, "two", {"imei": "77"})
    with pytest.raises(Conflict, match="already"):
        create_device(draft, A, "one", {})
    remove_device(draft, find_device(draft, A, "one"))
    create_device(draft, A, "one", {"imei": "77"})


def test_what_a_draft_has_removed_is_free_again(view: RegistryView) -> None:
    draft = Draft(view)
    remove_device(draft, find_device(view, A, "c"))
    assert create_device(draft, A, "new", {DEV_EUI: "70b3d57ed0001234"}, parent="g").parent_id == "g"
    assert len(draft.children("g")) == 1


def test_a_rotated_secret_opens_beside_the_new_one_until_its_time_is_over(view: RegistryView) -> None:  # AC-b09
    draft = Draft(view)
    created, first = create_credential(draft, A, "device")
    rotated, second = rotate_credential(draft, created, overlap_s=60)
    assert rotated.id == created.id
    now = rotated.former_until_us - 60_000_000
    assert rotated.opens_with(digest(first), now)
    assert rotated.opens_with(digest(second), now)
    assert not rotated.opens_with(digest(first), rotated.former_until_us)
    third, _ = rotate_credential(draft, rotated, overlap_s=0)
    assert not third.opens_with(digest(second), now)
    assert not third.opens_with("", now)
    with pytest.raises(RegistryRefused, match="overlap"):
        rotate_credential(draft, rotated, overlap_s=-1)


def test_the_integration_secret_is_one_per_tenant_generated_and_regenerated(view: RegistryView) -> None:  # AC-b07
    assert integration_secret(view, A) is None
    draft = Draft(view)
    first, one = rotate_integration_secret(draft, A)
    second, two = rotate_integration_secret(draft, A)
    assert first.id == second.id == integration_id("a")
    assert one != two
    assert integration_secret(draft, A) == second
    assert [each.id for each in draft.owned(Credential, "a")] == [first.id]


def test_a_tenant_goes_only_when_nothing_of_it_is_left(view: RegistryView) -> None:
    with pytest.raises(Conflict, match="still has devices"):
        remove_tenant(Draft(view), B)
    draft = Draft(view)
    rotate_integration_secret(draft, B)
    create_api_key(draft, B, "ci", ["devices:read"])
    remove_device(draft, find_device(view, B, "theirs"))
    remove_tenant(draft, B)
    stored(view, draft)
    assert view.tenant("b") is None
    assert not view.owned(Credential, "b")
    assert not view.devices("b")


def test_settings_name_sources_that_exist_and_carry_a_version(view: RegistryView) -> None:
    draft = Draft(view)
    made = change_settings(draft, A, ["ttn", "flespi", "flespi"], version=0)
    assert made == TenantSettings(id="a", tenant_id="a", auto_register=("flespi", "ttn"))
    with pytest.raises(Stale):
        change_settings(draft, A, [], version=0)
    with pytest.raises(RegistryRefused, match="no source 'nope'"):
        change_settings(draft, A, ["nope"])


def test_an_api_key_has_known_scopes_and_a_time_to_come(view: RegistryView) -> None:
    draft = Draft(view)
    key, secret = create_api_key(draft, A, "ci", ["devices:write", "devices:write"])
    assert key.scopes == ("devices:write",)
    assert key.digest == digest(secret)
    for scopes, expires in ((["nope"], 0), ([], 0), (["*"], 1)):
        with pytest.raises(RegistryRefused):
            create_api_key(draft, A, "ci", scopes, expires)
    assert grants(key.scopes, "devices:read")
    assert not grants(key.scopes, "tenants:read")
    assert grants(("*",), "tenants:write")
    assert not grants(("devices:read",), "devices:write")


SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize(
    "area",
    [
        Circle(91, 0, 1),
        Circle(0, 181, 1),
        Circle(0, 0, 0),
        Circle(0, 0, float("nan")),
        Circle(float("nan"), 0, 5),
        Polygon(()),
        Polygon((SQUARE[:3],)),
        Polygon((((0.0, 0.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)),)),
        Polygon((SQUARE, ((0.0, 0.0), (1.0, 0.0), (1.0, 95.0), (0.0, 0.0)))),
    ],
)
def test_what_is_no_area_is_refused(area: Circle | Polygon) -> None:
    with pytest.raises(RegistryRefused):
        check_area(area)
    check_area(Polygon((SQUARE,)))
    check_area(Circle(52.5, 13.4, 50))


def test_control_characters_are_those_unicode_calls_so_and_lone_surrogates() -> None:
    found = {code for code in range(sys.maxunicode + 1) if has_control(chr(code))}
    assert found == {code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cs")}


def test_a_name_may_stand_behind_every_gateway_and_once_behind_each() -> None:
    view = RegistryView()
    view.apply("tenant/a", msgspec.json.encode(A))
    for committed in (True, False):  # in the registry, and in the same draft
        draft = Draft(view)
        prefix = "c" if committed else "d"
        gates = [create_device(draft, A, f"{prefix}{n}", {}, gateway=True) for n in range(3)]
        for gate in gates:
            create_device(draft, A, "Door", {}, parent=gate)
        if committed:
            create_device(draft, A, "Door", {})
            for change in draft.changes:
                view.apply(change.key, msgspec.json.encode(change.after))
            draft = Draft(view)
        for parent in (*gates, None):
            with pytest.raises(Conflict, match="'Door' already"):
                create_device(draft, A, "Door", {}, parent=parent)
        (door,) = draft.siblings("a", gates[0].id, "Door")
        moved = draft.device(door)
        assert moved is not None
        remove_device(draft, moved)
        assert draft.siblings("a", gates[0].id, "Door") == ()
        again = create_device(draft, A, "Door", {}, parent=gates[0])
        with pytest.raises(Conflict, match="'Door' already"):
            change_device(draft, again, parent=gates[1])
    assert view.siblings("b", "", "Door") == ()


def test_a_thousand_devices_of_one_name_behind_gateways_take_no_longer_than_of_many() -> None:
    def asked(view: RegistryView) -> int:
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        draft = Draft(view)
        sys.setprofile(count)
        try:
            create_device(draft, A, "Door", {}, parent="g1", wanted_id="new")
        finally:
            sys.setprofile(None)
        return calls

    def fleet(size: int) -> RegistryView:
        view = RegistryView()
        gates = [Device(id=f"g{n}", tenant_id="a", name=f"Gate {n}", gateway=True) for n in range(size)]
        doors = [Device(id=f"d{n}", tenant_id="a", name="Door", parent_id=f"g{n}") for n in range(2, size)]
        every: list[Tenant | Device] = [A, *gates, *doors]
        for entry in every:
            view.apply(entry_key(entry), msgspec.json.encode(entry))
        return view

    assert asked(fleet(1_000)) < 2 * asked(fleet(10))


def test_only_ids_that_two_devices_have_by_mistake_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    view = RegistryView()
    caplog.set_level("INFO")
    for number in range(3):
        shared = {"imei": "1", "custom1": "red", "colour": "red"}
        device = Device(id=f"d{number}", tenant_id="a", name="Van", attributes=shared)
        view.apply(entry_key(device), msgspec.json.encode(device))
    assert ["claim the same imei" in record.getMessage() for record in caplog.records] == [True]
