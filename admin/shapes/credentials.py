"""What opens the doors: never the secret, but right after it was made."""

from typing import Annotated

from pydantic import Field

from admin.shapes.common import Given, Shown, Text, Version, moment
from registry.model import Credential
from registry.rules.access import LONGEST_OVERLAP_S, OVERLAP_S
from schemas.times import now_us

Overlap = Annotated[
    float,
    Field(
        ge=0,
        le=LONGEST_OVERLAP_S,
        allow_inf_nan=False,
        description="For how many seconds the former secret goes on opening; 0 ends it at once.",
    ),
]


class NewCredential(Given):
    """A credential to be made, for all of the tenant's devices or for one."""

    source: Text = Field(description="One of the connectivity catalogue's.", examples=["flespi"])
    device_id: Text | None = None
    name: Text = ""


class Rotation(Given):
    """How a secret is to be replaced."""

    overlap_s: Overlap = OVERLAP_S
    version: Version | None = None


class CredentialShown(Shown):
    """A credential. `former_until`: the secret before the last rotation opens until then."""

    id: str
    tenant_id: str
    source: str
    device_id: str | None
    name: str
    created_at: str | None
    former_until: str | None
    version: int


class CredentialMade(CredentialShown):
    """A credential and its secret, which is shown this once."""

    secret: str


def credential_shown(credential: Credential) -> CredentialShown:
    """Show a credential."""
    return CredentialShown(**_fields(credential))


def credential_made(credential: Credential, secret: str) -> CredentialMade:
    """Show a credential with its secret."""
    return CredentialMade(**_fields(credential), secret=secret)


def former_until(credential: Credential) -> str | None:
    """Tell until when the former secret opens, if it still does."""
    return moment(credential.former_until_us) if credential.former_until_us > now_us() else None


def _fields(credential: Credential) -> dict[str, object]:
    return {
        "id": credential.id,
        "tenant_id": credential.tenant_id,
        "source": credential.source,
        "device_id": credential.device_id or None,
        "name": credential.name,
        "created_at": moment(credential.created_us),
        "former_until": former_until(credential),
        "version": credential.version,
    }
