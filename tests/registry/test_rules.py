"""What may enter the registry, and what is refused with a reason."""

import msgspec
import pytest

from registry.errors import RegistryRefused
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Device, Tenant
from registry.rules import (
    check_psk,
    find_device,
    find_tenant,
    make_credential,
    make_destination,
    make_device,
    make_tenant,
)
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
    made = make_device(view, A, "van", {"imei": " 2 ", "serial": ""})
    assert made.attributes == {"imei": "2", EXTERNAL_ID: made.id}
    assert make_device(view, A, "van", {EXTERNAL_ID: "v"}).attributes == {EXTERNAL_ID: "v"}


@pytest.mark.parametrize("written", ["70B3D57ED0009999", "70-b3-d5-7e-d0-00-99-99", "70:B3:D5:7E:D0:00:99:99"])
def test_a_dev_eui_is_stored_in_one_form(view: RegistryView, written: str) -> None:
    assert make_device(view, A, "van", {DEV_EUI: written}).attributes[DEV_EUI] == "70b3d57ed0009999"


@pytest.mark.parametrize(
    "written", ["70B3D57ED000999", "70B3D57ED00099990", "70B3D57ED000999G", "٧0B3D57ED0009999", "-"]
)
def test_what_is_no_dev_eui_is_refused(view: RegistryView, written: str) -> None:
    with pytest.raises(RegistryRefused, match="DevEUI"):
        make_device(view, A, "van", {DEV_EUI: written})


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
        make_device(view, A, "van", attributes)


def test_tenants_may_use_the_same_ids(view: RegistryView) -> None:
    assert make_device(view, A, "theirs", {"serial": "9"}).tenant_id == "a"


@pytest.mark.parametrize("device_id", ["c", "theirs", "", "a/b", "a b", "x" * 201, "a\u00a0b"])
def test_an_unusable_device_id_is_refused(view: RegistryView, device_id: str) -> None:
    with pytest.raises(RegistryRefused):
        make_device(view, A, "van", {}, wanted_id=device_id)


def test_names_are_unique_among_siblings_only(view: RegistryView) -> None:
    assert make_device(view, A, "child", {}, parent="g2").parent_id == "g2"
    for name, parent in (("child", "g"), ("gate", None), ("  ", None)):
        with pytest.raises(RegistryRefused):
            make_device(view, A, name, {}, parent=parent)


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
        make_device(view, A, "new", {}, parent=parent, gateway=gateway)


def test_tenants_and_devices_are_found_by_id_or_name(view: RegistryView) -> None:
    assert find_tenant(view, "a") is find_tenant(view, "Acme")
    assert find_tenant(view, B) == B
    assert find_device(view, A, "child").id == find_device(view, A, "c").id == "c"
    with pytest.raises(RegistryRefused, match="tenant list"):
        find_tenant(view, "nobody")


def test_a_name_that_several_devices_have_is_not_guessed_at(view: RegistryView) -> None:
    twin = make_device(view, A, "child", {}, parent="g2")
    view.apply(entry_key(twin), msgspec.json.encode(twin))
    with pytest.raises(RegistryRefused, match="give the id"):
        find_device(view, A, "child")


@pytest.mark.parametrize(
    ("name", "tenant_id"), [("Acme", None), ("a", None), ("New", "a"), ("New", "Acme"), ("", None)]
)
def test_a_tenant_is_not_created_twice(view: RegistryView, name: str, tenant_id: str | None) -> None:
    with pytest.raises(RegistryRefused):
        make_tenant(view, name, tenant_id)


def test_an_unknown_source_is_refused_with_those_there_are() -> None:
    with pytest.raises(RegistryRefused, match=", ".join(source_names())):
        make_credential(A, "nope", "digest")


def test_the_integration_secret_belongs_to_no_single_device(view: RegistryView) -> None:
    with pytest.raises(RegistryRefused, match="whole tenant"):
        make_credential(A, INTEGRATION, "digest", view.device("c"))


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
        make_destination(A, "webhook", url, (), "")


@pytest.mark.parametrize("url", ["http://host", "https://host:8443/path?a=b", "http://127.0.0.1:9/", "https://[::1]/x"])
def test_a_webhook_url_is_kept_as_it_is(url: str) -> None:
    made = make_destination(A, "webhook", url, ("a", "b", "a"), "")
    assert made.url == url
    assert made.types == ("a", "b")


@pytest.mark.parametrize("psk", ["a\rb", "a\nb", "a\r\nX-Other: 1", "\0", "\x7f", "\x85"])
def test_a_psk_with_control_characters_is_refused(psk: str) -> None:  # BT-c06
    with pytest.raises(RegistryRefused, match="PSK"):
        check_psk(psk)
