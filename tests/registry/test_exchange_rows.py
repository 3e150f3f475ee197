"""Rows on a draft of the registry: by the same rules as every other change; exported and imported again, nothing differs."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.draft import Draft
from registry.errors import RegistryRefused
from registry.exchange.applying import ON_EXISTING, OnExisting, apply_row
from registry.exchange.columns import COLUMNS
from registry.exchange.csv_rows import MOST_COLUMNS
from registry.exchange.events import RowDone
from registry.exchange.exporting import export_devices
from registry.exchange.reading import FORMATS, Format, Heading, read_rows
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Device, Tenant
from registry.rules.devices import create_device
from registry.secrets import digest
from registry.view import RegistryView, entry_key

TENANT, OTHER = Tenant(id="a", name="Acme"), Tenant(id="b", name="Beta")


def view_of(*entries: Tenant | Device | Credential) -> RegistryView:
    made = RegistryView()
    for entry in (TENANT, OTHER, *entries):
        made.apply(entry_key(entry), msgspec.json.encode(entry))
    return made


def applied(draft: Draft) -> RegistryView:
    """Commit a draft to its view, as the topic would."""
    for change in draft.changes:
        draft.view.apply(change.key, None if change.after is None else msgspec.json.encode(change.after))
    return draft.view


def take(
    draft: Draft, text: str | bytes, on_existing: OnExisting = "refuse", form: Format = "csv", *, tokens: bool = False
) -> list[RowDone]:
    data = text.encode() if isinstance(text, str) else text
    rows = [row for row in read_rows([data], form) if not isinstance(row, Heading)]
    return [apply_row(draft, TENANT, row, on_existing, tokens=tokens) for row in rows]


def outcomes(done: list[RowDone]) -> list[str]:
    return [each.outcome for each in done]


def test_devices_are_made_with_everything_a_row_says() -> None:
    # AC-b04, AC-b05, AC-b06
    draft = Draft(view_of())
    text = (
        "id,name,external_id,dev_eui,imei,serial,iccid,custom1,custom2,custom3,gateway,parent,colour\n"
        "gw,Gate,,,,,,,,,true,,\n"
        "d1,Door,e-1,24-E1-24-12-6B-01-23-45,123,S1,I1,c1,c2,c3,,gw,red\n"
        ",Window,,,,,,,,,,Gate,\n"
    )
    done = take(draft, text)
    assert outcomes(done) == ["created"] * 3
    gate, door, window = (draft.device(each.device_id) for each in done)
    assert gate == Device(id="gw", tenant_id="a", name="Gate", attributes={EXTERNAL_ID: "gw"}, gateway=True)
    assert door is not None
    assert door.attributes == {
        EXTERNAL_ID: "e-1",
        DEV_EUI: "24e124126b012345",
        "imei": "123",
        "serial": "S1",
        "iccid": "I1",
        "custom1": "c1",
        "custom2": "c2",
        "custom3": "c3",
        "colour": "red",
    }
    assert window is not None
    assert (door.parent_id, window.parent_id, window.attributes) == ("gw", "gw", {EXTERNAL_ID: window.id})


def test_a_bad_row_stops_no_other_and_says_why() -> None:
    draft = Draft(view_of(Device(id="theirs", tenant_id="b", name="Theirs", gateway=True)))
    text = (
        "id,name,imei,dev_eui,gateway,parent\n"
        "x,Van,1,,,\n"
        ",,2,,,\n"
        "x,Twin,3,,,\n"
        ",Same,1,,,\n"
        ",Van,,,,\n"
        "a/b,Slash,,,,\n"
        ",Radio,,12,,\n"
        ",Child,,,,nowhere\n"
        ",Child,,,,x\n"
        ",Child,,,,theirs\n"
        ",Last,9,,,\n"
    )
    done = take(draft, text)
    assert outcomes(done) == ["created", *["refused"] * 9, "created"]
    said = {each.line: each.reason for each in done}
    for line, words in {
        3: "name is empty",
        4: "this id already",
        5: "this imei already",
        6: "this name already",
        7: "cannot be an id",
        8: "no DevEUI",
        9: "no device 'nowhere'",
        10: "no gateway",
        11: "no device 'theirs'",
    }.items():
        assert words in said[line]
    assert [each.device_id for each in done[2:5]] == ["x", "x", "x"]
    assert len(draft.changes) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_file_again_makes_nothing_twice(form: Format) -> None:
    text = {
        "csv": "name,imei,parent,gateway\nGate,,,yes\nVan,1,,\nDoor,,Gate,\n",
        "ndjson": '{"name":"Gate","gateway":true}\n{"name":"Van","imei":1}\n{"name":"Door","parent":"Gate"}\n',
    }[form]
    first = take(draft := Draft(view_of()), text, form=form)
    view = applied(draft)
    for on_existing, expected in {"refuse": "refused", "skip": "skipped", "update": "unchanged"}.items():
        assert on_existing in ON_EXISTING
        again = take(draft := Draft(view), text, on_existing, form)
        assert outcomes(again) == [expected] * 3
        assert [each.device_id for each in again] == [each.device_id for each in first]
        assert not draft.changes


def test_a_row_without_an_id_is_recognised_by_what_it_gives() -> None:
    attributes = {EXTERNAL_ID: "e", DEV_EUI: "24e124126b012345", "imei": "1", "serial": "2", "iccid": "3"}
    standing = Device(id="d", tenant_id="a", name="Van", attributes=attributes)
    view = view_of(standing, Device(id="f", tenant_id="b", name="Van", attributes={"imei": "77"}))
    for heading, value in {
        "external_id": "e",
        "dev_eui": "24:E1:24:12:6B:01:23:45",
        "imei": "1",
        "serial": "2",
        "iccid": "3",
        "name": "Van",
    }.items():
        (done,) = take(Draft(view), f"{heading},colour\n{value},red\n", "update")
        assert (done.outcome, done.device_id) == ("updated", "d"), heading
    (done,) = take(Draft(view), "name,imei\nVan 2,77\n", "update")  # another tenant's
    assert done.outcome == "created"
    (done,) = take(Draft(view), "id,name,imei\nnew,Van 3,1\n", "update")  # the id says it is another one
    assert (done.outcome, done.reason) == ("refused", "the imei '1' is taken by device d")


def test_an_update_changes_what_a_row_says_and_nothing_else() -> None:
    gateway = Device(id="g", tenant_id="a", name="Gate", gateway=True)
    standing = Device(
        id="d", tenant_id="a", name="Van", attributes={EXTERNAL_ID: "e", "imei": "1", "a": "1"}, parent_id="g"
    )
    draft = Draft(view_of(gateway, standing))
    assert outcomes(take(draft, "id,name,imei,parent,gateway,b\nd,,,,,2\n", "update")) == ["updated"]
    expected = msgspec.structs.replace(standing, attributes={**standing.attributes, "b": "2"}, version=2)
    assert draft.device("d") == expected
    line = json.dumps({"id": "d", "name": "Bus", "imei": None, "parent": None, "attributes": {"a": ""}})
    assert outcomes(take(draft, line, "update", "ndjson")) == ["updated"]
    assert draft.device("d") == Device(
        id="d", tenant_id="a", name="Bus", attributes={EXTERNAL_ID: "e", "b": "2"}, version=3
    )


def test_tokens_are_for_new_devices_only_and_kept_as_digests() -> None:
    # AC-b09
    draft = Draft(view_of(Device(id="old", tenant_id="a", name="Old")))
    old, new, bad = take(draft, "id,name\nold,\nnew,New\nbad,\n", "skip", tokens=True)
    assert (old.token, bad.token) == ("", "")
    (credential,) = draft.credentials_of("new")
    assert (credential.source, credential.digest) == ("device", digest(new.token))
    assert new.token not in repr(new)
    assert new.token not in str(list(new.__rich_repr__()))
    assert new.token not in repr(draft.changes)


NAMES = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
FORMULAS = st.sampled_from(["=1+1", "'=x", "''a", "'tis", "+49", "-", "@x", 'a"b', "a,b;c", "ä€😀", "sep=;", "＝x"])
TEXTS = st.one_of(FORMULAS, NAMES)
ATTRIBUTES = st.dictionaries(
    st.one_of(
        st.sampled_from(["imei", "serial", "iccid", "custom1", "custom2", EXTERNAL_ID, DEV_EUI]),
        st.sampled_from(["id", "name", "Name", "external_id", "attributes", "attributes.x", "gateway", "tenant_id"]),
        TEXTS,
    ),
    TEXTS,
    max_size=6,
)
FLEETS = st.lists(
    st.tuples(TEXTS, TEXTS, ATTRIBUTES, st.booleans(), st.integers(0, 20), st.binary(min_size=8, max_size=8)),
    max_size=12,
)


def fleet(drawn: list[tuple[str, str, dict[str, str], bool, int, bytes]]) -> RegistryView:
    """Make devices by the rules; those the rules refuse are left out."""
    draft = Draft(view_of(Device(id="foreign", tenant_id="b", name="Foreign")))
    gateways: list[str] = []
    for wanted_id, name, attributes, gateway, choice, dev_eui in drawn:
        said = {**attributes, **({DEV_EUI: dev_eui.hex()} if DEV_EUI in attributes else {})}
        parent = gateways[choice % len(gateways)] if gateways and not gateway and choice % 2 else None
        try:
            made = create_device(
                draft, TENANT, name, said, gateway=gateway, parent=parent, wanted_id=wanted_id if choice % 3 else None
            )
        except RegistryRefused:
            continue
        if gateway:
            gateways.append(made.id)
    return applied(draft)


@settings(deadline=None)
@given(drawn=FLEETS, form=st.sampled_from(FORMATS), bom=st.booleans())
def test_what_was_exported_makes_the_same_devices_elsewhere(drawn: list, form: Format, bom: bool) -> None:  # type: ignore[type-arg]
    view = fleet(drawn)
    written = b"".join(export_devices(view, TENANT.id, form, bom=bom))
    draft = Draft(view_of())
    done = take(draft, written, form=form)
    assert {each.reason for each in done} <= {""}
    assert applied(draft).devices(TENANT.id) == view.devices(TENANT.id)
    again = take(Draft(view), written, "update", form)
    assert set(outcomes(again)) <= {"unchanged"}


@settings(deadline=None)
@given(drawn=FLEETS)
def test_no_cell_of_an_export_is_a_formula(drawn: list) -> None:  # type: ignore[type-arg]
    import csv

    written = b"".join(export_devices(fleet(drawn), TENANT.id, "csv")).decode()
    cells = [cell for row in csv.reader(written.splitlines(keepends=True)) for cell in row]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝＋－＠")]


def test_an_export_names_parents_first_and_nothing_secret() -> None:
    child = Device(id="a", tenant_id="a", name="Door", parent_id="z", attributes={EXTERNAL_ID: "a"})
    gate = Device(id="z", tenant_id="a", name="Gate", gateway=True)
    secret = Credential(id="c", tenant_id="a", source="device", digest=digest("x"), device_id="a")
    view = view_of(child, gate, secret, Device(id="q", tenant_id="b", name="Theirs"))
    lines = b"".join(export_devices(view, "a", "csv")).decode().splitlines()
    assert lines == [
        ",".join(COLUMNS),
        "z,Gate,,,,,,,,,true,",
        "a,Door,a,,,,,,,,false,z",
    ]
    found = [json.loads(line) for line in b"".join(export_devices(view, "a", "ndjson")).splitlines()]
    assert found == [
        {"id": "z", "name": "Gate", "gateway": True},
        {"id": "a", "name": "Door", "external_id": "a", "gateway": False, "parent": "z"},
    ]


def test_a_csv_with_too_many_attributes_is_refused_before_it_begins() -> None:
    devices = [
        Device(id=f"d{n}", tenant_id="a", name=f"D{n}", attributes={f"a{n}.{m}": "x" for m in range(90)})
        for n in range(MOST_COLUMNS // 90 + 1)
    ]
    with pytest.raises(RegistryRefused, match="NDJSON"):
        next(export_devices(view_of(*devices), "a", "csv"))


def test_an_attribute_that_comes_while_a_csv_is_written_ends_it_loudly() -> None:
    view = view_of(Device(id="d", tenant_id="a", name="D"))
    pieces = export_devices(view, "a", "csv")
    next(pieces)
    late = Device(id="d", tenant_id="a", name="D", attributes={"late": "x"})
    view.apply(entry_key(late), msgspec.json.encode(late))
    with pytest.raises(RegistryRefused, match="again"):
        list(pieces)
