"""Areas as GeoJSON (RFC 7946), read and written. A circle, which GeoJSON has not, is a point with the property `radius_m`."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.errors import RegistryRefused

if TYPE_CHECKING:
    from registry.model import Circle, Geofence, Polygon


def feature_of(fence: "Geofence") -> dict[str, Any]:
    """Write a geofence as a Feature."""
    properties: dict[str, Any] = {"name": fence.name, "tenant_id": fence.tenant_id, "attributes": fence.attributes}
    radius_m = getattr(fence.area, "radius_m", None)
    if radius_m is not None:
        properties["radius_m"] = radius_m
    geometry = geometry_of(fence.area)
    return {
        "type": "Feature", "id": fence.id, "version": fence.version, "properties": properties, "geometry": geometry
    }  # fmt: skip


def geometry_of(area: "Circle | Polygon") -> dict[str, Any]:
    """Write an area as a geometry; of a circle its centre."""
    from registry.model import Circle

    if isinstance(area, Circle):
        return {"type": "Point", "coordinates": [area.longitude, area.latitude]}
    return {"type": "Polygon", "coordinates": [[list(point) for point in ring] for ring in area.coordinates]}


def parse_area(text: str | bytes) -> "Circle | Polygon":
    """Read a Polygon, or a Feature or FeatureCollection that holds exactly one. Raises RegistryRefused on anything else.

    Altitudes are left out. Whether the area can be one at all is for `registry.rules.places` to say.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegistryRefused(f"this is no GeoJSON: {error}") from None
    return _area(found)


def _area(found: Any) -> "Circle | Polygon":
    from registry.model import Circle, Polygon

    geometry, properties = _geometry(found)
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon" and isinstance(coordinates, list):
        return Polygon(tuple(_ring(ring) for ring in coordinates))
    radius_m = properties.get("radius_m")
    if kind == "Point" and radius_m is not None and _is_number(radius_m):
        longitude, latitude = _point(coordinates)
        return Circle(latitude, longitude, float(radius_m))
    if kind == "MultiPolygon":
        raise RegistryRefused("a geofence is one polygon, and this is a MultiPolygon: make one of each of its parts")
    raise RegistryRefused(f"no area in it: wanted is a Polygon, not {kind!r}")


def _geometry(found: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the one geometry there is and its properties."""
    if not isinstance(found, dict):
        raise RegistryRefused("this is no GeoJSON: not an object")
    if found.get("type") == "FeatureCollection":
        features = found.get("features")
        if not isinstance(features, list) or len(features) != 1:
            number = len(features) if isinstance(features, list) else 0
            raise RegistryRefused(f"the FeatureCollection holds {number} features; a geofence is made of exactly one")
        return _geometry(features[0])
    if found.get("type") != "Feature":
        return found, {}
    geometry, properties = found.get("geometry"), found.get("properties")
    if not isinstance(geometry, dict):
        raise RegistryRefused("the Feature has no geometry")
    return geometry, properties if isinstance(properties, dict) else {}


def _ring(ring: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(ring, list):
        raise RegistryRefused("a polygon is a list of rings, a ring a list of [longitude, latitude]")
    return tuple(_point(each) for each in ring)


def _point(point: Any) -> tuple[float, float]:
    if not isinstance(point, Sequence) or len(point) < 2 or not all(_is_number(each) for each in point):
        raise RegistryRefused(f"{str(point)[:80]} is no [longitude, latitude]")
    return float(point[0]), float(point[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
