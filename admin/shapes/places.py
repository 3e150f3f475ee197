"""Destinations and geofences."""

from typing import Annotated, Literal

from pydantic import Field

from admin.shapes.common import Given, Shown, Text, Version
from admin.shapes.devices import Attributes
from registry.model import Circle, Destination, Geofence, Polygon

Types = Annotated[list[Text], Field(max_length=100, description="Event types; none means all.")]
Psk = Annotated[
    str, Field(max_length=1_000, description="Sent as the Authorization header; stored encrypted, never shown.")
]
Degrees = Annotated[float, Field(allow_inf_nan=False)]


class NewDestination(Given):
    """A destination to be made."""

    kind: Literal["webhook"] = "webhook"
    url: Text = Field(examples=["https://customer.example/events"])
    name: Text = ""
    types: Types = Field(default_factory=list)
    psk: Psk | None = Field(None, repr=False)
    enabled: bool = True


class DestinationChange(Given):
    """What is to be changed of a destination: only what is there; a `psk` of null removes it."""

    url: Text | None = None
    name: Text | None = None
    types: Types | None = None
    psk: Psk | None = Field(None, repr=False)
    enabled: bool | None = None
    version: Version | None = None


class DestinationShown(Shown):
    """A destination; of its PSK only whether there is one."""

    id: str
    tenant_id: str
    kind: str
    url: str
    name: str
    types: list[str]
    psk: bool
    enabled: bool
    version: int


class CircleShape(Given):
    """The ground within `radius_m` metres of a point; degrees WGS 84."""

    type: Literal["Circle"]
    latitude: Degrees
    longitude: Degrees
    radius_m: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PolygonShape(Given):
    """A GeoJSON polygon: rings of [longitude, latitude], the outer one first, each ending with its first point."""

    type: Literal["Polygon"]
    coordinates: Annotated[
        list[list[Annotated[list[Degrees], Field(min_length=2, max_length=2)]]], Field(min_length=1, max_length=1_000)
    ]


Area = Annotated[CircleShape | PolygonShape, Field(discriminator="type")]


class NewGeofence(Given):
    """A geofence to be made."""

    name: Text
    area: Area
    id: Text | None = Field(None, description="One of your own; made up unless given.")
    attributes: Attributes = Field(default_factory=dict)


class GeofenceChange(Given):
    """What is to be changed of a geofence: only what is there; null removes an attribute."""

    name: Text | None = None
    area: Area | None = None
    attributes: Attributes = Field(default_factory=dict)
    version: Version | None = None


class GeofenceShown(Shown):
    """A geofence."""

    id: str
    tenant_id: str
    name: str
    area: Area
    attributes: dict[str, str]
    version: int


def destination_shown(destination: Destination) -> DestinationShown:
    """Show a destination."""
    return DestinationShown(
        id=destination.id,
        tenant_id=destination.tenant_id,
        kind=destination.kind,
        url=destination.url,
        name=destination.name,
        types=list(destination.types),
        psk=bool(destination.sealed_psk),
        enabled=destination.enabled,
        version=destination.version,
    )


def area_of(given: CircleShape | PolygonShape) -> Circle | Polygon:
    """Return an area as the registry keeps it."""
    if isinstance(given, CircleShape):
        return Circle(latitude=given.latitude, longitude=given.longitude, radius_m=given.radius_m)
    return Polygon(tuple(tuple((point[0], point[1]) for point in ring) for ring in given.coordinates))


def geofence_shown(fence: Geofence) -> GeofenceShown:
    """Show a geofence."""
    area: CircleShape | PolygonShape
    if isinstance(fence.area, Circle):
        circle = fence.area
        area = CircleShape(
            type="Circle", latitude=circle.latitude, longitude=circle.longitude, radius_m=circle.radius_m
        )
    else:
        rings = [[list(point) for point in ring] for ring in fence.area.coordinates]
        area = PolygonShape(type="Polygon", coordinates=rings)
    return GeofenceShown(
        id=fence.id,
        tenant_id=fence.tenant_id,
        name=fence.name,
        area=area,
        attributes=fence.attributes,
        version=fence.version,
    )
