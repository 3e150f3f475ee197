"""What the administrative commands share: their options, the open registry, and how they print."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from fleetline.settings import Settings
    from registry.model import ApiKey, Credential, Destination, Device, Geofence, Tenant
    from registry.store import RegistryStore
    from registry.view import RegistryView

Command = Callable[..., Any]


def common_options(command: Command) -> Command:
    """Add `--data` and `--json`, passed as `data` and `as_json`."""
    data = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help="Data directory of the local stack to talk to [default: $FLEETLINE_DATA or .fleetline].",
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return data(as_json(command))


def tenant_option(command: Command) -> Command:
    """Add `--tenant`, passed as `tenant`."""
    return click.option("--tenant", metavar="ID|NAME", help="May be left out when there is exactly one.")(command)


@contextmanager
def open_registry(data: Path | None) -> Iterator[tuple["Settings", "RegistryStore"]]:
    """Open the registry of the installation the settings point at, as the person at this machine.

    Its errors become one line and exit status 1.
    """
    from fleetline.local_settings import load_settings
    from registry.errors import RegistryError, RegistryUnavailable
    from registry.store import RegistryStore

    settings = load_settings(data)
    try:
        with RegistryStore(settings, actor=whoever_runs_this()) as store:
            yield settings, store
    except RegistryUnavailable as error:
        from fleetline.kafka_reach import why_refused

        raise FleetlineError(why_refused(settings) or str(error)) from error
    except RegistryError as error:
        raise FleetlineError(str(error)) from error


def whoever_runs_this() -> str:
    """Return the actor that the audit trail names: `cli:<user>@<host>`."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"cli:{user}@{socket.gethostname()}"


def chosen_tenant(view: "RegistryView", wanted: str | None) -> "Tenant":
    """Return the tenant asked for by id or name; without one, the only tenant there is."""
    from registry.rules.tenants import find_tenant

    if wanted is not None:
        return find_tenant(view, wanted)
    tenants = view.tenants()
    if not tenants:
        raise FleetlineError("there is no tenant yet; create one: fleetline tenant create NAME")
    if len(tenants) > 1:
        names = ", ".join(tenant.name for tenant in tenants[:10])
        raise click.UsageError(f"there are {len(tenants)} tenants ({names}); say which with --tenant")
    return tenants[0]


def chosen_tenants(view: "RegistryView", wanted: str | None) -> "tuple[Tenant, ...]":
    """Return the tenant asked for, or all of them."""
    return view.tenants() if wanted is None else (chosen_tenant(view, wanted),)


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    import orjson

    click.echo(orjson.dumps(value).decode())


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, nothing: str) -> None:
    """Print a table; `columns` maps keys of the rows to headings. Into a pipe nothing is cut short."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(nothing)
        return
    table = Table()
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row[key])) for key in columns))
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one object, a line for each of its fields."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {_shown(value)}".rstrip())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value)
    return "" if value is None else str(value)


def tenant_row(tenant: "Tenant") -> dict[str, Any]:
    """Show a tenant."""
    return {"id": tenant.id, "name": tenant.name, "version": tenant.version}


def device_row(device: "Device") -> dict[str, Any]:
    """Show a device: the ids it is known by beside all its attributes."""
    from registry.model import DEV_EUI, EXTERNAL_ID

    attributes = device.attributes
    return {
        "id": device.id,
        "tenant_id": device.tenant_id,
        "name": device.name,
        "external_id": attributes.get(EXTERNAL_ID),
        "dev_eui": attributes.get(DEV_EUI),
        **{name: attributes.get(name) for name in ("imei", "serial", "iccid", "custom1", "custom2", "custom3")},
        "gateway": device.gateway,
        "parent_id": device.parent_id or None,
        "attributes": attributes,
        "version": device.version,
    }


def credential_row(credential: "Credential") -> dict[str, Any]:
    """Show a credential, without anything the secret could be guessed from."""
    return {
        "id": credential.id,
        "tenant_id": credential.tenant_id,
        "source": credential.source,
        "device_id": credential.device_id or None,
        "name": credential.name,
        "created_at": moment(credential.created_us),
        "former_until": moment(credential.former_until_us),
        "version": credential.version,
    }


def destination_row(destination: "Destination") -> dict[str, Any]:
    """Show a destination; of its PSK only whether there is one."""
    return {
        "id": destination.id,
        "tenant_id": destination.tenant_id,
        "name": destination.name,
        "kind": destination.kind,
        "url": destination.url,
        "types": list(destination.types),
        "psk": bool(destination.sealed_psk),
        "enabled": destination.enabled,
        "version": destination.version,
    }


def geofence_row(fence: "Geofence") -> dict[str, Any]:
    """Show a geofence."""
    from registry.model import Circle

    area = fence.area
    if isinstance(area, Circle):
        shape = {"type": "Circle", "latitude": area.latitude, "longitude": area.longitude, "radius_m": area.radius_m}
    else:
        shape = {"type": "Polygon", "coordinates": area.coordinates}
    return {
        "id": fence.id,
        "tenant_id": fence.tenant_id,
        "name": fence.name,
        "area": shape,
        "attributes": fence.attributes,
        "version": fence.version,
    }


def api_key_row(key: "ApiKey") -> dict[str, Any]:
    """Show a key of the admin API, without anything it could be guessed from."""
    return {
        "id": key.id,
        "tenant_id": key.tenant_id or None,
        "name": key.name,
        "scopes": list(key.scopes),
        "expires_at": moment(key.expires_us),
        "created_at": moment(key.created_us),
        "version": key.version,
    }


def moment(ticks: int) -> str | None:
    """Show a time in µs since 1970; 0 is none."""
    from schemas.times import format_us

    return format_us(ticks) if ticks else None
