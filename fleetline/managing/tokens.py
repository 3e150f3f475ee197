"""`fleetline device token`: what one device alone shows at the door, made, replaced and taken back (AC-b09, AP-b01)."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetline.admin import common_options, credential_row, moment, open_registry, print_json
from fleetline.errors import FleetlineError
from fleetline.managing.options import DAY_S, of_tenant_option, overlap_option

if TYPE_CHECKING:
    from registry.draft import Draft
    from registry.model import Credential, Device


@click.command("token")
@click.argument("wanted", metavar="DEVICE")
@of_tenant_option
@click.option("--source", default="device", show_default=True, help="The sender's kind it opens.")
@click.option("--rotate", is_flag=True, help="Make a new one; the former goes on opening for --overlap.")
@overlap_option
@click.option("--revoke", is_flag=True, help="Take it back: neither it nor a former one opens anything any more.")
@common_options
def token(
    wanted: str,
    tenant: str | None,
    source: str,
    rotate: bool,
    overlap_s: float | None,
    revoke: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Make the token of DEVICE (id or name) and print it: once, it is not kept and cannot be shown again.

    \b
    fleetline device token "Van 3"                          its first
    fleetline device token "Van 3" --rotate --overlap 7d    a new one; the former opens for a week more
    fleetline device token "Van 3" --revoke
    """  # fmt: skip  # noqa: D301  click reads the backspace itself
    from fleetline.managing.finding import find_device
    from registry.rules.access import check_source
    from sources.catalog import load_source

    if rotate and revoke:
        raise click.UsageError("--rotate and --revoke exclude each other")
    if overlap_s is not None and not rotate:
        raise click.UsageError("--overlap goes with --rotate")
    with open_registry(data) as (_, store):
        check_source(source)
        if not revoke and load_source(source).tenant_secret:
            raise FleetlineError(
                f"{source} is opened by the tenant's secret, for all its devices: fleetline tenant secret"
            )
        device = find_device(store.view, tenant, wanted)
        if revoke:
            gone = store.change(lambda draft: _revoke(draft, device, source))
        else:
            kept_s = DAY_S if overlap_s is None else overlap_s
            made, secret = store.change(lambda draft: _make(draft, device, source, rotate=rotate, overlap_s=kept_s))
    if revoke:
        if as_json:
            print_json({"device_id": device.id, "source": source, "revoked": [each.id for each in gone]})
            return
        click.echo(f"revoked the token of {device.name} ({device.id})")
        return
    if as_json:
        print_json({**credential_row(made), "secret": secret})
        return
    click.echo(f"token of {device.name}, shown this once: {secret}")
    if made.former_until_us:
        click.echo(f"the former one opens until {moment(made.former_until_us)}")
    click.echo(f"how to send with it: fleetline device connect {shlex.quote(device.id)}{_of(source)}", err=True)


def _of(source: str) -> str:
    return "" if source == "device" else f" --source {source}"


def _tokens(draft: "Draft", device: "Device", source: str) -> "list[Credential]":
    """List what speaks for the device alone, the newest first."""
    found = (each for each in draft.credentials_of(device.id) if each.source == source)
    return sorted(found, key=lambda each: (each.created_us, each.id), reverse=True)


def _make(draft: "Draft", device: "Device", source: str, *, rotate: bool, overlap_s: float) -> "tuple[Credential, str]":
    from registry.errors import Conflict
    from registry.rules import access, tenants

    device = draft.current(device, None)
    found = _tokens(draft, device, source)
    if found and not rotate:
        made = moment(found[0].created_us) or "at an unknown time"
        raise Conflict(
            f"{device.name!r} has a token, made {made}; it cannot be shown again: make a new one with --rotate"
        )
    if found:
        return access.rotate_credential(draft, found[0], overlap_s=overlap_s)
    return access.create_credential(draft, tenants.find_tenant(draft, device.tenant_id), source, device)


def _revoke(draft: "Draft", device: "Device", source: str) -> "list[Credential]":
    from registry.errors import NotFound
    from registry.rules.access import revoke_credential

    found = _tokens(draft, device, source)
    if not found:
        raise NotFound(f"{device.name!r} has no token for {source}")
    for each in found:
        revoke_credential(draft, each)
    return found
