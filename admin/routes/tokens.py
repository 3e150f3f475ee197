"""A device's token, and how the device is connected with it (AC-b03, AC-b09, AP-b01, AP-b02)."""

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query

from admin.problems import Problem
from admin.routes.devices import DEVICE
from admin.routing import AtTenant, Routes, TenantCall
from admin.shapes.common import Text, moment
from admin.shapes.connecting import ConnectionShown, TokenMade, TokenShown
from admin.shapes.credentials import Rotation, former_until
from fleetline.connectivity.examples import connection
from fleetline.connectivity.recipient import recipient_of
from fleetline.connectivity.tokens import has_secret, make_token, tokens_of
from registry.draft import Draft
from registry.errors import NotFound
from registry.model import Credential, Device
from registry.rules import access
from sources.catalog import load_sources
from sources.contract import Source

routes = Routes("devices")
TOKEN = f"{DEVICE}/token"
TOKEN_PATH = "POST …/devices/{id}/token?source="  # noqa: S105  a path
SECRET_PATH = "POST …/integration/secret"  # noqa: S105


async def _source(
    source: Annotated[Text, Query(description="One of the connectivity catalogue's.")] = "device",
) -> Source:
    found = load_sources().get(source)
    if found is None:
        raise Problem(422, "refused", f"there is no such source; there are: {', '.join(load_sources())}")
    return found


AtSource = Annotated[Source, Depends(_source)]


@routes.get(TOKEN, scope="credentials:read")
async def get_token(call: AtTenant, device_id: str, source: AtSource) -> TokenShown:
    """Tell whether a device has a token for a source, and until when the former one opens. The token itself is not kept."""
    device = call.find(Device, device_id)
    return TokenShown(**_state(source, next(iter(tokens_of(call.view, source, device)), None)))


@routes.add("POST", TOKEN, scope="credentials:write")
async def rotate_token(call: AtTenant, device_id: str, source: AtSource, body: Rotation | None = None) -> TokenMade:
    """Make a device's token, or a new one: shown in this answer alone, in ready examples too (AC-b09)."""
    wanted = body or Rotation()
    if source.tenant_secret:
        raise Problem(422, "refused", f"{source.name} is opened by the tenant's secret, for all devices: {SECRET_PATH}")
    made, token = await call.change_one(
        Device,
        device_id,
        lambda draft, device: make_token(draft, source, device, wanted.overlap_s, wanted.version),
    )
    shown = await _connection(call, call.find(Device, device_id), source, token)
    return TokenMade(**_state(source, made), token=token, connection=shown)


@routes.add("DELETE", TOKEN, scope="credentials:write", status_code=204)
async def revoke_token(call: AtTenant, device_id: str, source: AtSource) -> None:
    """Revoke everything that speaks for this device alone to the source."""

    def plan(draft: Draft, device: Device) -> None:
        found = [each for each in draft.credentials_of(device.id) if each.source == source.name]
        if not found:
            raise NotFound(f"the device has no token for {source.name}")
        for each in found:
            access.revoke_credential(draft, each)

    await call.change_one(Device, device_id, plan)


@routes.get(f"{DEVICE}/connectivity", scope="devices:read")
async def check_connectivity(call: AtTenant, device_id: str, source: AtSource) -> ConnectionShown:
    """Show how a device is connected: commands to paste, what to enter at the sender, and whether there is a token yet."""
    return await _connection(call, call.find(Device, device_id), source, None)


async def _connection(call: TenantCall, device: Device, source: Source, token: str | None) -> ConnectionShown:
    view = call.view
    known = token is not None or has_secret(view, source, device)

    def made() -> dict[str, Any]:
        who = recipient_of(view, device)
        return dict(msgspec.to_builtins(connection(call.settings, source, who, token, has_secret=known)))

    shown = await call.read(made)  # reads the source's samples
    for of_the_command_line in ("secret", "make_secret"):
        del shown[of_the_command_line]
    shown["message"] = _message(shown["secret_kind"], source, token, known)
    return ConnectionShown(**shown, has_secret=known)


def _message(kind: str, source: Source, token: str | None, known: bool) -> str:
    make = SECRET_PATH if source.tenant_secret else TOKEN_PATH + source.name
    if token is not None:
        return f"The {kind} is shown this once: copy it now."
    if not known:
        return f"There is no {kind} yet, so nothing can be sent. Make one: {make}"
    return f"The {kind} is kept as a hash and cannot be shown again. Put yours into the examples, or make a new one: {make}"


def _state(source: Source, credential: Credential | None) -> dict[str, Any]:
    return {
        "source": source.name,
        "exists": credential is not None,
        "credential_id": credential and credential.id,
        "created_at": credential and moment(credential.created_us),
        "former_until": credential and former_until(credential),
        "version": credential and credential.version,
    }
