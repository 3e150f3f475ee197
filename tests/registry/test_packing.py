"""Nothing is lost by packing, and a packed device claims what a device claims."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from registry.contents import Contents
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Device
from registry.packing import credential_of, credential_row, device_of, device_row
from registry.shelf import _pack
from registry.tenant import COMPUTED, device_claims
from registry.view import RegistryView, entry_key

texts = st.one_of(st.sampled_from(("", "d1", "x", "00:AA", "-")), st.text(max_size=4))
names = st.one_of(
    st.sampled_from((EXTERNAL_ID, DEV_EUI, "imei", "serial", "iccid", "custom1", *sorted(COMPUTED))),
    st.text(max_size=3),
)
numbers = st.integers(-(2**63) + 1, 2**63 - 1)
devices = st.builds(
    Device,
    id=texts.filter(bool),
    tenant_id=st.sampled_from(("a", "b")),
    name=texts,
    attributes=st.dictionaries(names, texts, max_size=6),
    gateway=st.booleans(),
    parent_id=texts,
    version=numbers,
)
digests = st.one_of(texts, st.binary(min_size=32, max_size=32).map(bytes.hex), st.text(min_size=30, max_size=33))
credentials = st.builds(
    Credential,
    id=texts.filter(bool),
    tenant_id=st.sampled_from(("a", "b")),
    source=st.sampled_from(("device", "flespi", "")),
    digest=digests,
    device_id=texts,
    name=texts,
    former_digest=digests,
    former_until_us=numbers,
    created_us=numbers,
    version=numbers,
)
_contents = Contents()


@given(devices)
def test_a_device_is_the_same_after_packing(device: Device) -> None:
    packed = _pack(device_row(device, 7))
    assert device_of(_contents.devices._decode(packed), device.tenant_id) == device


@given(credentials)
def test_a_credential_is_the_same_after_packing(credential: Credential) -> None:
    packed = _pack(credential_row(credential, 7))
    row = _contents.credentials._decode(packed)
    assert credential_of(row, credential.tenant_id) == credential
    assert row.is_token == (credential.source == "device" and credential.device_id != "")
    assert {credential.digest, credential.former_digest} - {""} == set(row.digests()) - {""}


@given(devices)
def test_a_packed_device_claims_what_the_device_claims(device: Device) -> None:
    row = device_row(device, 7)
    wanted = {(scope, kind, value) for scope, kind, value in device_claims(device) if kind != "id"}
    claims = row.claims()
    assert len(claims) == len(set(claims))
    assert {claim[1:] if len(claim) == 4 else ("", *claim[1:]) for claim in claims} == wanted
    assert all(row.holds(claim) for claim in claims)
    assert row.holds(device.id)
    for claim in claims:
        assert not row.holds((8, *claim[1:]))  # another tenant's
        assert not row.holds((*claim[:-1], f"{claim[-1]}x"))


@given(st.one_of(devices, credentials), st.sampled_from((2**63, -(2**63), 10**30)))
def test_a_number_too_large_to_be_packed_makes_an_entry_unreadable_and_changes_nothing(
    entry: Device | Credential, number: int
) -> None:
    view = RegistryView()
    view.apply(entry_key(entry), msgspec.json.encode(entry))
    fields = ("version",) if isinstance(entry, Device) else ("version", "former_until_us", "created_us")
    for field in fields:
        broken = msgspec.to_builtins(entry) | {field: number}
        view.apply(entry_key(entry), msgspec.json.encode(broken))
        view.apply(
            f"{entry.KIND}/other",
            msgspec.json.encode(broken | {"id": "other", "tenant_id": "a tenant of nothing else"}),
        )
    view.apply(f"{entry.KIND}/", msgspec.json.encode(msgspec.structs.replace(entry, id="")))
    assert list(view.entries()) == [entry]
    assert len(view._contents.tenancies) == 1
