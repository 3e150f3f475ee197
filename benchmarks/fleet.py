"""A made-up fleet as large as wanted, with the ids real ones have: the same number gives the same device."""

import hashlib

from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Device

TENANTS = 50
GATEWAY_EVERY = 20
START_MS = 1_767_322_800_000
"""Of the tenants; a device a millisecond comes after them."""


def tenant_id(number: int) -> str:
    """Return the id of a tenant."""
    return _id("tenant", number % TENANTS, START_MS)


def device(number: int) -> Device:
    """Make a device: two of three have an IMEI, the others a DevEUI; a fifth of those stand behind a gateway."""
    own = _id("device", number, START_MS + number)
    attributes = {
        EXTERNAL_ID: own if number % 4 else f"EXT-{number:07}",
        "serial": f"SN{number:010}",
    }
    gateway_number = number - number % (GATEWAY_EVERY * TENANTS) + number % TENANTS
    behind = number % 3 == 0 and number % 5 == 0 and number != gateway_number
    if number % 3:
        attributes["imei"] = f"35693803{number:07}"
        attributes["iccid"] = f"894902000000{number:07}"
    else:
        attributes[DEV_EUI] = f"70b3d57ed{number:07x}"
    return Device(
        id=own,
        tenant_id=tenant_id(number),
        name=f"Truck {number}",
        attributes=attributes,
        gateway=number == gateway_number,
        parent_id=_id("device", gateway_number, START_MS + gateway_number) if behind else "",
    )


def credential(number: int) -> Credential:
    """Make the credential of a device."""
    made_ms = START_MS + number
    return Credential(
        id=_id("credential", number, made_ms),
        tenant_id=tenant_id(number),
        source="device",
        digest=hashlib.sha256(b"secret of %d" % number).hexdigest(),
        device_id=_id("device", number, made_ms),
        created_us=made_ms * 1000,
    )


def _id(kind: str, number: int, unix_ms: int) -> str:
    """Return a UUIDv7 as `schemas.ids.new_id` makes them, but always the same."""
    stamp = f"{unix_ms:012x}"
    noise = hashlib.blake2b(f"{kind} {number}".encode(), digest_size=10).hexdigest()
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-8{noise[4:7]}-{noise[7:19]}"
