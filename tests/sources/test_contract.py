"""The suite every source passes with every bundled sample: adding a source or a sample adds tests, and edits none."""

import copy
import re
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from registry.model import DEV_EUI, EXTERNAL_ID, Device
from registry.view import RegistryView
from schemas.records import telemetry_reader, telemetry_writer
from schemas.view import telemetry_view
from schemas.vocabulary import BY_NAME, is_canonical
from sources.catalog import FOLDER, load_source, load_sources, source_names
from sources.contract import Request, Source
from sources.engine import NORMALIZER_ERROR, Canonical, Defect, canonicalize
from sources.golden import outcome, sample_request
from sources.samples import SAMPLE_TENANT, Sample, all_samples, load_samples

SAMPLES = [pytest.param(source, sample, id=f"{source}-{name}") for source, name, sample in all_samples()]
READABLE = [param for param in SAMPLES if param.values[1].canonical]  # type: ignore[union-attr]
SOURCES = list(source_names())


def made(source: Source, request: Request) -> tuple[list[Canonical], list[Defect]]:
    everything = list(canonicalize(source, request))
    return [m for m in everything if isinstance(m, Canonical)], [m for m in everything if isinstance(m, Defect)]


def test_the_sources_of_the_design_are_there() -> None:
    assert {
        "autopi",
        "flespi",
        "biketrax",
        "traccar",
        "digital_matter",
        "device",
        "generic",
        "chirpstack",
        "ttn",
    } <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_a_folder_with_its_four_things(name: str) -> None:
    source = load_source(name)
    assert source.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert (FOLDER / name / "normalize.py").is_file()
    assert (FOLDER / name / "README.md").read_text(encoding="utf-8").startswith("# ")
    assert source.credentials, "a source without a credential would be an open door"
    assert source.links, "say where the vendor documents what is read"


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_everyday_samples(name: str) -> None:
    assert len([sample for sample in load_samples(name).values() if sample.canonical]) >= 2


def test_no_two_sources_claim_the_same_route() -> None:
    routes = [path.rstrip("/") for source in load_sources().values() for path in source.paths]
    assert len(routes) == len(set(routes))


def test_sample_devices_are_distinct() -> None:
    ids: dict[str, Any] = {}
    for source, name, sample in all_samples():
        for device in sample.devices:
            assert ids.setdefault(device.id, (source, device)) == (source, device), (
                f"{source}/{name} reuses {device.id}"
            )


def test_no_two_sample_devices_claim_one_identity() -> None:
    owners: dict[tuple[str, str], str] = {}
    for source, name, sample in all_samples():
        for device in sample.devices:
            for kind in ("name", "external_id", "dev_eui", "imei", "serial"):
                value = getattr(device, kind)
                owner = owners.setdefault((kind, value), device.id) if value else device.id
                assert owner == device.id, f"{source}/{name}: {kind} {value} is another device's already"


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_a_sample_gives_its_golden_records(name: str, sample: Sample) -> None:
    if sample.status != 200:
        assert not sample.canonical
        return
    views, defects = outcome(load_source(name), sample)
    assert orjson.loads(orjson.dumps(views)) == sample.canonical
    assert defects == sample.quarantined


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_no_sample_meets_a_mistake_of_ours(name: str, sample: Sample) -> None:
    if sample.status == 200:
        _, defects = made(load_source(name), sample_request(load_source(name), sample))
        assert NORMALIZER_ERROR not in {defect.reason for defect in defects}


@pytest.mark.parametrize(("name", "sample"), READABLE)
def test_records_keep_the_invariants(name: str, sample: Sample) -> None:
    for view in sample.canonical:
        assert view["source"] == name
        assert view["type"]
        assert view["observed_at"] <= "2026-12-31"
        assert (view["latitude"] is None) == (view["longitude"] is None)
        if view["latitude"] is not None:
            assert -90 <= view["latitude"] <= 90
            assert -180 <= view["longitude"] <= 180
        assert view["course_deg"] is None or 0 <= view["course_deg"] <= 360
        assert view["speed_kmh"] is None or 0 <= view["speed_kmh"] < 1000
        for kind, names in (("number", "numbers"), ("boolean", "booleans"), ("text", "texts")):
            for key in view[names]:
                if key in BY_NAME:
                    assert BY_NAME[key].kind == kind, f"{key} is a {BY_NAME[key].kind} in the vocabulary"
                elif name != "flespi":  # flespi's own names are the vocabulary
                    assert is_canonical(key) or key.startswith(f"{name}.") or key == "identity.mismatch", key


@pytest.mark.parametrize(("name", "sample"), READABLE)
def test_records_survive_their_bytes(name: str, sample: Sample) -> None:
    write, read = telemetry_writer(), telemetry_reader()
    records, _ = made(load_source(name), sample_request(load_source(name), sample))
    for canonical in records:
        assert telemetry_view(read(write(canonical.record))) == telemetry_view(canonical.record)


@pytest.mark.parametrize(("name", "sample"), READABLE)
def test_ids_are_distinct_and_do_not_depend_on_key_order_or_white_space(name: str, sample: Sample) -> None:
    source = load_source(name)
    request = sample_request(source, sample)
    ids = [canonical.record["id"] for canonical in made(source, request)[0]]
    assert len(ids) == len(set(ids))
    if sample.request.body is None:
        return
    shuffled = orjson.dumps(_reversed(sample.request.body), option=orjson.OPT_INDENT_2)
    again = made(source, msgspec.structs.replace(request, body=shuffled))[0]
    assert sorted(ids) == sorted(canonical.record["id"] for canonical in again)


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "sample"), READABLE)
def test_the_tenant_is_part_of_the_id(name: str, sample: Sample) -> None:
    source = load_source(name)
    request = sample_request(source, sample)
    ours = {canonical.record["id"] for canonical in made(source, request)[0]}
    theirs = {c.record["id"] for c in made(source, msgspec.structs.replace(request, tenant_id="another"))[0]}
    assert not ours & theirs


def view_of(sample: Sample) -> RegistryView:
    view = RegistryView()
    for declared in sample.devices:
        attributes = {
            EXTERNAL_ID: declared.external_id or declared.id,
            DEV_EUI: declared.dev_eui,
            "imei": declared.imei,
            "serial": declared.serial,
        }
        device = Device(
            id=declared.id,
            tenant_id=SAMPLE_TENANT,
            name=declared.name,
            gateway=declared.gateway,
            parent_id=declared.parent,
            attributes={key: value for key, value in attributes.items() if value},
        )
        view.apply(f"device/{device.id}", msgspec.json.encode(device))
    return view


@pytest.mark.parametrize(("name", "sample"), READABLE)
def test_every_record_finds_its_device(name: str, sample: Sample) -> None:
    source = load_source(name)
    request = sample_request(source, sample)
    view = view_of(sample)
    known = {device.id for device in sample.devices}
    for canonical in made(source, request)[0]:
        found = view.identify(SAMPLE_TENANT, request.device_id, canonical.identities, canonical.child)
        assert found.device_id in known, canonical.identities
        elsewhere = view.identify("another tenant", "", canonical.identities, canonical.child)
        assert not elsewhere.device_id


def test_adding_a_source_edits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copied folder with another name is found, and its topic and routes follow from its declaration."""
    from sources import catalog

    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "__init__.py").write_text("SOURCE = None\n", encoding="utf-8")
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    assert catalog.source_names() == ("twin",)


def test_a_changed_value_changes_the_id() -> None:
    source = load_source("flespi")
    sample = load_samples("flespi")["two-messages"]
    request = sample_request(source, sample)
    body = copy.deepcopy(sample.request.body)
    body[1]["vehicle.mileage"] += 1
    before = [canonical.record["id"] for canonical in made(source, request)[0]]
    after = [c.record["id"] for c in made(source, msgspec.structs.replace(request, body=orjson.dumps(body)))[0]]
    assert before[0] == after[0]
    assert before[1] != after[1]
