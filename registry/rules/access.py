"""What may be done with what opens a door: senders' credentials, tenants' webhook secrets, keys of the admin API.

Secrets are made here, returned once, and kept as their SHA-256 only.
"""

from collections.abc import Iterable

import msgspec

from registry.draft import Draft
from registry.errors import RegistryRefused
from registry.model import INTEGRATION, ApiKey, Credential, Device, Tenant, integration_id
from registry.rules.texts import clean_text, required
from registry.secrets import digest, new_secret
from schemas.ids import new_id
from schemas.times import now_us
from sources.catalog import source_names

OVERLAP_S = 24 * 3600
"""How long a rotated secret goes on opening unless said otherwise: webhooks and devices are reconfigured one by one."""
LONGEST_OVERLAP_S = 90 * 24 * 3600
EVERYTHING = "*"
RESOURCES = ("tenants", "devices", "credentials", "destinations", "geofences", "settings", "api_keys", "audit")
SCOPES = (EVERYTHING, *(f"{resource}:{access}" for resource in RESOURCES for access in ("read", "write")))


def check_source(source: str) -> None:
    """Refuse a source that does not exist, naming those that do."""
    if source not in source_names():
        raise RegistryRefused(f"no source {source!r}; there are: {', '.join(source_names())}")


def create_credential(
    draft: Draft, tenant: Tenant, source: str, device: Device | None = None, name: str = ""
) -> tuple[Credential, str]:
    """Create a credential for one source, speaking for all of a tenant's devices or for one. Returns its secret too."""
    check_source(source)
    secret = new_secret()
    made = Credential(
        id=new_id(),
        tenant_id=tenant.id,
        source=source,
        digest=digest(secret),
        device_id="" if device is None else device.id,
        name=clean_text(name, "the name"),
        created_us=now_us(),
    )
    return draft.put(made), secret


def rotate_credential(
    draft: Draft, credential: Credential, *, overlap_s: float = OVERLAP_S, version: int | None = None
) -> tuple[Credential, str]:
    """Give a credential a new secret; the former one opens for `overlap_s` seconds more, 0 ends it at once (AC-b09).

    One before the former ends at once: two secrets open at most.
    """
    if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
        raise RegistryRefused(f"an overlap is 0 to {LONGEST_OVERLAP_S} seconds")
    standing = draft.current(credential, version)
    secret = new_secret()
    made = msgspec.structs.replace(
        standing,
        digest=digest(secret),
        former_digest=standing.digest if overlap_s else "",
        former_until_us=now_us() + int(overlap_s * 1e6) if overlap_s else 0,
    )
    return draft.put(made), secret


def rotate_integration_secret(
    draft: Draft, tenant: Tenant, *, overlap_s: float = OVERLAP_S, version: int | None = None
) -> tuple[Credential, str]:
    """Give a tenant its webhook secret, or a new one: it opens every source that declares `tenant_secret` (AC-b07)."""
    standing = draft.get(Credential, integration_id(tenant.id))
    if standing is not None:
        return rotate_credential(draft, standing, overlap_s=overlap_s, version=version)
    secret = new_secret()
    made = Credential(
        id=integration_id(tenant.id),
        tenant_id=tenant.id,
        source=INTEGRATION,
        digest=digest(secret),
        created_us=now_us(),
    )
    return draft.put(made), secret


def revoke_credential(draft: Draft, credential: Credential, version: int | None = None) -> None:
    """Remove a credential: neither its secret nor the former one opens anything any more."""
    draft.remove(draft.current(credential, version))


def create_api_key(
    draft: Draft, tenant: Tenant | None, name: str, scopes: Iterable[str], expires_us: int = 0
) -> tuple[ApiKey, str]:
    """Create a key of the admin API for one tenant, or for the operator without one. Returns its secret too."""
    wanted = tuple(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise RegistryRefused(
            f"no scope {', '.join(unknown)}; there are: {', '.join(SCOPES)}" if unknown else "a key needs a scope"
        )
    if expires_us and expires_us <= now_us():
        raise RegistryRefused("the key would have expired already")
    secret = new_secret()
    made = ApiKey(
        id=new_id(),
        tenant_id="" if tenant is None else tenant.id,
        name=required(name, "the key's name"),
        digest=digest(secret),
        scopes=wanted,
        expires_us=expires_us,
        created_us=now_us(),
    )
    return draft.put(made), secret


def revoke_api_key(draft: Draft, key: ApiKey, version: int | None = None) -> None:
    """Remove a key of the admin API."""
    draft.remove(draft.current(key, version))


def grants(scopes: Iterable[str], wanted: str) -> bool:
    """Tell whether scopes allow `<resource>:read` or `<resource>:write`; to write is to read as well."""
    held = set(scopes)
    if EVERYTHING in held or wanted in held:
        return True
    resource, _, access = wanted.partition(":")
    return access == "read" and f"{resource}:write" in held
