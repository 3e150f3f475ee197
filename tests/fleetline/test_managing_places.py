"""Destinations and geofences on the command line, and areas as GeoJSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetline.managing.geojson import geometry_of, parse_area
from fleetline.settings import Settings
from registry.errors import RegistryRefused
from registry.model import Circle, Destination, Geofence, Polygon
from registry.sealing import unseal
from registry.store import RegistryStore
from tests.fleetline.commanding import done, refused, said

SQUARE = [[16.0, 48.0], [16.1, 48.0], [16.1, 48.1], [16.0, 48.1], [16.0, 48.0]]
HOLE = [[16.02, 48.02], [16.04, 48.02], [16.04, 48.04], [16.02, 48.02]]


@pytest.fixture
def acme(installation: Settings) -> Settings:
    said("tenant", "create", "Acme", "--id", "acme")
    return installation


@pytest.mark.stack
def test_a_destination_is_changed_switched_and_deleted(acme: Settings) -> None:
    made = said(
        "destination", "create", "--url", "https://example.com/a", "--types", "x", "--psk", "one", "--name", "shop"
    )
    assert said("destination", "show", made["id"]) == made
    changed = said(
        "destination",
        "update",
        made["id"],
        "--url",
        "https://example.com/b",
        "--types",
        "",
        "--psk",
        "two",
        "--version",
        "1",
    )
    wanted = {"url": "https://example.com/b", "types": [], "psk": True, "name": "shop", "version": 2}
    assert {key: changed[key] for key in wanted} == wanted
    assert "at version 2" in refused("destination", "update", made["id"], "--name", "x", "--version", "1")
    with RegistryStore(acme) as store:
        kept = store.view.get(Destination, made["id"])
        assert kept is not None
        assert unseal(acme, kept.sealed_psk) == "two"
    assert said("destination", "update", made["id"], "--psk", "", "--name", "")["psk"] is False
    assert said("destination", "disable", made["id"])["enabled"] is False
    assert "switched off" in done("destination", "update", made["id"], "--name", "y").stdout
    with RegistryStore(acme) as store:
        assert store.view.destinations("acme") == ()
    assert said("destination", "enable", made["id"])["enabled"] is True
    assert "nothing to change" in refused("destination", "update", made["id"])
    assert "control characters" in refused("destination", "update", made["id"], "--psk", "a\nb")
    assert "http" in refused("destination", "update", made["id"], "--url", "ftp://x")
    assert said("destination", "delete", made["id"]) == {"id": made["id"], "deleted": True}
    for verb in (("show",), ("enable",), ("disable",), ("delete",), ("update", "--name", "x")):
        assert "`fleetline destination list` shows them" in refused("destination", *verb, made["id"])


@pytest.mark.stack
def test_a_circle_is_made_shown_and_changed(acme: Settings) -> None:
    made = said("geofence", "create", "Depot", "--circle", "-33.8,151.2,500", "--set", "colour=red", "--id", "depot")
    with RegistryStore(acme) as store:
        kept = store.view.get(Geofence, "depot")
    assert kept is not None
    assert (kept.area, kept.attributes) == (Circle(-33.8, 151.2, 500), {"colour": "red"})
    assert "500 m around -33.8, 151.2" in done("geofence", "list").stdout
    assert said("geofence", "list") == [made]
    changed = said("geofence", "update", "Depot", "--name", "Yard", "--circle", "48,16,5", "--unset", "colour")
    assert (changed["name"], changed["attributes"], changed["version"]) == ("Yard", {}, 2)
    assert changed["area"] == {"type": "Circle", "latitude": 48, "longitude": 16, "radius_m": 5}
    assert "at version 2" in refused("geofence", "update", "Yard", "--name", "x", "--version", "1")
    assert "Yard (depot)?" in refused("geofence", "delete", "Yard", typed="n\n")
    assert said("geofence", "delete", "depot", "--yes") == {"id": "depot", "deleted": True}
    assert said("geofence", "list") == []


@pytest.mark.stack
def test_what_is_shown_of_a_geofence_makes_the_same_one_again(acme: Settings, tmp_path: Path) -> None:
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE, HOLE]}))
    said("geofence", "create", "Yard", "--polygon", str(file))
    said("geofence", "create", "Depot", "--circle", "48.2,16.3,500")
    for name in ("Yard", "Depot"):
        feature = done("geofence", "show", name).stdout
        assert json.loads(feature) == said("geofence", "show", name)
        assert json.loads(feature)["type"] == "Feature"
        done("geofence", "create", f"{name} 2", "--polygon", "-", typed=feature)
    with RegistryStore(acme) as store:
        areas = {each.name: each.area for each in store.view.owned(Geofence, "acme")}
    assert areas["Yard"] == areas["Yard 2"] == Polygon(tuple(tuple((x, y) for x, y in ring) for ring in (SQUARE, HOLE)))
    assert areas["Depot"] == areas["Depot 2"] == Circle(48.2, 16.3, 500)
    assert "polygon of 4 points, 1 cut out" in done("geofence", "list").stdout


@pytest.mark.stack
def test_what_is_no_area_is_refused_in_one_line(acme: Settings, tmp_path: Path) -> None:
    file = tmp_path / "area.geojson"
    cases: list[tuple[tuple[str, ...], str, str]] = [
        ((), "", "--circle LAT,LON,RADIUS_M or --polygon"),
        (("--circle", "48,16"), "", "LAT,LON,RADIUS_M"),
        (("--circle", "48,16,0"), "", "radius"),
        (("--circle", "91,16,5"), "", "no place"),
        (("--circle", "nan,16,5"), "", "no place"),
        (("--polygon", str(tmp_path / "missing")), "", "No such file"),
        (("--polygon", str(file), "--circle", "48,16,5"), "{}", "exclude each other"),
        (("--polygon", str(file)), "{", "no GeoJSON"),
        (("--polygon", str(file)), "[" * 100_000, "no GeoJSON"),
        (("--polygon", str(file)), "[]", "not an object"),
        (("--polygon", str(file)), json.dumps({"type": "Polygon", "coordinates": [SQUARE[:-1]]}), "first one again"),
        (("--polygon", str(file)), json.dumps({"type": "FeatureCollection", "features": []}), "0 features"),
        (("--polygon", str(file)), json.dumps({"type": "MultiPolygon", "coordinates": [[SQUARE]]}), "MultiPolygon"),
        (("--polygon", str(file)), json.dumps({"type": "Point", "coordinates": [1, 2]}), "'Point'"),
        (("--polygon", str(file)), json.dumps({"type": "Feature", "geometry": None}), "no geometry"),
        (("--polygon", str(file)), '{"type":"Polygon","coordinates":[[["a",1]]]}', "no [longitude, latitude]"),
        (("--polygon", str(file)), '{"type":"Polygon","coordinates":[[[NaN,1]]]}', "no [longitude, latitude]"),
    ]
    for arguments, content, complaint in cases:
        file.write_text(content)
        assert complaint in refused("geofence", "create", "Yard", *arguments), (arguments, content[:100])
    assert said("geofence", "list") == []
    for verb in (("show",), ("delete", "--yes"), ("update", "--name", "x")):
        assert "`fleetline geofence list` shows them" in refused("geofence", *verb, "nothing")


def test_an_area_is_read_from_whatever_geojson_holds_it() -> None:
    polygon = {"type": "Polygon", "coordinates": [[[*point, 171.5] for point in SQUARE]]}
    feature = {"type": "Feature", "properties": {"radius_m": 4}, "geometry": polygon}
    read = [
        parse_area(json.dumps(each))
        for each in (polygon, feature, {"type": "FeatureCollection", "features": [feature]})
    ]
    assert read == [Polygon((tuple((x, y) for x, y in SQUARE),))] * 3


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "coordinates", "geometry", "features", "properties", "radius_m"]), inner
        )
    ),
    max_leaves=15,
)


@given(json_values, st.sampled_from(["Polygon", "Point", "Feature", "FeatureCollection"]))
def test_whatever_a_file_holds_it_is_read_or_refused(value: Any, kind: str) -> None:
    whole = {**value, "type": kind} if isinstance(value, dict) else value
    try:
        area = parse_area(json.dumps(whole))
    except RegistryRefused:
        return
    assert geometry_of(area)["type"] in ("Polygon", "Point")
