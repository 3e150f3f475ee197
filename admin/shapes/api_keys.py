"""Keys of this API."""

from pydantic import Field

from admin.shapes.common import Given, Shown, Text, moment
from registry.errors import RegistryRefused
from registry.model import ApiKey
from registry.rules.access import SCOPES
from schemas.times import parse_iso_us


class NewApiKey(Given):
    """A key to be made. It can do nothing that the key which makes it cannot, nor longer."""

    name: Text
    scopes: list[Text] = Field(
        min_length=1, max_length=100, description=f"Of {', '.join(SCOPES)}; to write is to read as well."
    )
    expires_at: Text | None = Field(
        None, description="RFC 3339; never unless given.", examples=["2027-12-31T00:00:00Z"]
    )

    def expires_us(self) -> int:
        """Return when it expires in µs, 0 for never. Raises RegistryRefused on what is no time."""
        if self.expires_at is None:
            return 0
        try:
            return parse_iso_us(self.expires_at)
        except (ValueError, OverflowError):
            raise RegistryRefused("expires_at is no time: 2027-12-31T00:00:00Z") from None


class ApiKeyShown(Shown):
    """A key, without its secret."""

    id: str
    tenant_id: str | None
    name: str
    scopes: list[str]
    created_at: str | None
    expires_at: str | None
    version: int


class ApiKeyMade(ApiKeyShown):
    """A key with its secret, which is shown this once."""

    secret: str


def api_key_shown(key: ApiKey) -> ApiKeyShown:
    """Show a key."""
    return ApiKeyShown(**_fields(key))


def api_key_made(key: ApiKey, secret: str) -> ApiKeyMade:
    """Show a key with its secret."""
    return ApiKeyMade(**_fields(key), secret=secret)


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id or None,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": moment(key.created_us),
        "expires_at": moment(key.expires_us),
        "version": key.version,
    }
