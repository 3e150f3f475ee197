"""`fleetline geofence`: say which places a tenant has: circles and polygons."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    geofence_row,
    open_registry,
    print_json,
    print_rows,
    tenant_option,
)
from fleetline.managing.options import (
    Command,
    attribute_options,
    attributes_from,
    confirm,
    of_tenant_option,
    version_option,
    yes_option,
)

if TYPE_CHECKING:
    from registry.model import Circle, Geofence, Polygon

_COLUMNS = {"id": "id", "tenant_id": "tenant", "name": "name", "area": "area", "attributes": "attributes"}
_CIRCLE_PARTS = 3


class CircleOption(click.ParamType):
    """`LAT,LON,RADIUS_M`."""

    name = "circle"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Circle":
        """Read it, or end with exit status 2."""
        from registry.model import Circle

        if isinstance(value, Circle):
            return value
        try:
            numbers = [float(each) for each in value.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != _CIRCLE_PARTS:
            self.fail(f"{value!r} is not LAT,LON,RADIUS_M, e.g. 48.2082,16.3738,500", param, ctx)
        return Circle(*numbers)


def _area_options(command: Command) -> Command:
    circle = click.option(
        "--circle", type=CircleOption(), metavar="LAT,LON,RADIUS_M", help="Degrees and metres: 48.2082,16.3738,500."
    )
    polygon = click.option(
        "--polygon",
        type=click.File("rb"),
        metavar="FILE.geojson",
        help="A Polygon, or a Feature or FeatureCollection with one; - reads it from standard input.",
    )
    return circle(polygon(command))


def _area(circle: "Circle | None", polygon: Any) -> "Circle | Polygon | None":
    """Read the area that was given, if one was."""
    from fleetline.managing.geojson import parse_area
    from registry.rules.places import check_area

    if circle is not None and polygon is not None:
        raise click.UsageError("--circle and --polygon exclude each other")
    area = circle if polygon is None else parse_area(polygon.read())
    if area is not None:
        check_area(area)
    return area


@click.group("geofence")
def command() -> None:
    """Say which places a tenant has: circles and polygons. Changes take effect within a second."""


@command.command("create")
@click.argument("name")
@tenant_option
@_area_options
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="An attribute; may be repeated.")
@click.option("--id", "wanted_id", help="An id of your own, unique in the whole installation [default: a new one].")
@common_options
def create(
    name: str,
    tenant: str | None,
    circle: "Circle | None",
    polygon: Any,
    given: tuple[str, ...],
    wanted_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Create a geofence.

    \b
    fleetline geofence create Depot --circle 48.2082,16.3738,500
    fleetline geofence create Yard --polygon yard.geojson --set colour=red
    """  # fmt: skip  # noqa: D301  click reads the backspace itself
    from registry.rules.places import create_geofence

    attributes = {key: value or "" for key, value in attributes_from(given).items()}
    with open_registry(data) as (_, store):
        area = _area(circle, polygon)
        if area is None:
            raise click.UsageError("give its area: --circle LAT,LON,RADIUS_M or --polygon FILE.geojson")
        owner = chosen_tenant(store.view, tenant)
        made = store.change(
            lambda draft: create_geofence(draft, draft.current(owner, None), name, area, attributes, wanted_id)
        )
    _say(made, as_json=as_json)


def _say(made: "Geofence", *, as_json: bool) -> None:
    row = geofence_row(made)
    if as_json:
        print_json(row)
        return
    click.echo(f"geofence {made.name} ({made.id}): {_described(row['area'])}; version {made.version}")


def _described(area: dict[str, Any]) -> str:
    if area["type"] == "Circle":
        return f"{area['radius_m']:g} m around {area['latitude']:g}, {area['longitude']:g}"
    rings = area["coordinates"]
    holes = f", {len(rings) - 1} cut out" if len(rings) > 1 else ""
    return f"polygon of {len(rings[0]) - 1} points{holes}"


@command.command("list")
@of_tenant_option
@common_options
def list_all(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """List the geofences of one tenant, or of all."""
    from registry.model import Geofence

    with open_registry(data) as (_, store):
        view = store.view
        rows = [geofence_row(each) for owner in chosen_tenants(view, tenant) for each in view.owned(Geofence, owner.id)]
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            **row,
            "area": _described(row["area"]),
            "attributes": [f"{key}={value}" for key, value in row["attributes"].items()],
        }
        for row in rows
    ]
    print_rows(shown, _COLUMNS, nothing="no geofences")


@command.command("show")
@click.argument("wanted", metavar="GEOFENCE")
@of_tenant_option
@common_options
def show(wanted: str, tenant: str | None, data: Path | None, as_json: bool) -> None:
    """Print GEOFENCE (id or name) as a GeoJSON Feature, as maps and --polygon take it; with --json on one line.

    A circle is its centre, a Point with the property `radius_m`: GeoJSON has no circles.
    """
    import json

    from fleetline.managing.finding import find_geofence
    from fleetline.managing.geojson import feature_of

    with open_registry(data) as (_, store):
        feature = feature_of(find_geofence(store.view, tenant, wanted))
    if as_json:
        print_json(feature)
        return
    click.echo(json.dumps(feature, indent=2, ensure_ascii=False))


@command.command("update")
@click.argument("wanted", metavar="GEOFENCE")
@of_tenant_option
@click.option("--name", help="Its new name.")
@_area_options
@attribute_options
@version_option
@common_options
def update(
    wanted: str,
    tenant: str | None,
    name: str | None,
    circle: "Circle | None",
    polygon: Any,
    given: tuple[str, ...],
    removed: tuple[str, ...],
    version: int | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Change GEOFENCE (id or name): only what is given."""  # fmt: skip
    from msgspec import UNSET

    from fleetline.managing.finding import find_geofence
    from registry.rules.places import change_geofence

    attributes = attributes_from(given, removed)
    with open_registry(data) as (_, store):
        area = _area(circle, polygon)
        if name is None and area is None and not attributes:
            raise click.UsageError("nothing to change: see fleetline geofence update --help")
        fence = find_geofence(store.view, tenant, wanted)
        made = store.change(
            lambda draft: change_geofence(
                draft,
                fence,
                version=version,
                name=UNSET if name is None else name,
                area=UNSET if area is None else area,
                attributes=attributes or UNSET,
            )
        )
    _say(made, as_json=as_json)


@command.command("delete")
@click.argument("wanted", metavar="GEOFENCE")
@of_tenant_option
@yes_option
@version_option
@common_options
def delete(wanted: str, tenant: str | None, yes: bool, version: int | None, data: Path | None, as_json: bool) -> None:
    """Delete GEOFENCE (id or name), after asking."""
    from fleetline.managing.finding import find_geofence
    from registry.draft import Draft
    from registry.rules.places import remove_geofence

    with open_registry(data) as (_, store):
        fence = find_geofence(store.view, tenant, wanted)
        remove_geofence(Draft(store.view), fence, version)  # what is refused is refused before anybody is asked
        confirm(f"Delete the geofence {fence.name} ({fence.id})?", yes=yes)
        store.change(lambda draft: remove_geofence(draft, fence, version))
    if as_json:
        print_json({"id": fence.id, "deleted": True})
        return
    click.echo(f"deleted {fence.name} ({fence.id})")
