"""Who asks, and what they may: keys of the registry, and the operator's secret that opens an empty one."""

import hmac
from dataclasses import dataclass

from fastapi import Request

from admin.problems import Problem
from fleetline.errors import FleetlineError
from fleetline.settings import Settings
from registry.rules.access import EVERYTHING, grants
from registry.view import RegistryView

SHORTEST_ADMIN_TOKEN = 16
_CHALLENGE = 'Bearer realm="fleetline"'


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever showed a key. `tenant_id` empty: an operator, for every tenant. `expires_us` 0 is never."""

    actor: str
    tenant_id: str
    scopes: tuple[str, ...]
    expires_us: int = 0

    @property
    def is_operator(self) -> bool:
        """Whether every tenant may be seen."""
        return not self.tenant_id

    def sees(self, tenant_id: str) -> bool:
        """Tell whether a tenant exists as far as this caller is concerned."""
        return self.is_operator or self.tenant_id == tenant_id


def check_admin_token(settings: Settings) -> None:
    """Refuse a bootstrap secret that can be guessed."""
    token = settings.admin_token.get_secret_value()
    if token and len(token) < SHORTEST_ADMIN_TOKEN:
        raise FleetlineError(
            f"FLEETLINE_ADMIN_TOKEN is shorter than {SHORTEST_ADMIN_TOKEN} characters; use a random text"
        )


def authenticate(request: Request, settings: Settings, view: RegistryView) -> Caller:
    """Return who asks. Raises Problem 401; the key is compared in constant time."""
    secret = _presented(request)
    if not secret:
        raise _unauthorized("show an API key: Authorization: Bearer <key>", _CHALLENGE)
    token = settings.admin_token.get_secret_value()
    if token and hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), token.encode("utf-8", "surrogatepass")):
        return Caller("admin-token", "", (EVERYTHING,))
    key = view.api_key_for(secret)
    if key is None:
        raise _unauthorized(
            "the key opens nothing: unknown, revoked or expired", f'{_CHALLENGE}, error="invalid_token"'
        )
    return Caller(f"api-key:{key.id}", key.tenant_id, key.scopes, key.expires_us)


def require(caller: Caller, scope: str, *, operator: bool) -> None:
    """Refuse, with 403, a caller without the scope, and a tenant's key where only operators may."""
    if not grants(caller.scopes, scope):
        raise Problem(403, "scope", f"this needs the scope {scope}, which the key lacks")
    if operator and not caller.is_operator:
        raise Problem(403, "scope", f"this needs the scope {scope} of an operator's key, not of a tenant's")


def no_tenant(tenant_id: str) -> Problem:
    """Make the answer for a tenant that does not exist, or not for this caller: one as the other."""
    return Problem(404, "not-found", f"there is no tenant {tenant_id!r}")


def _presented(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return "" if scheme else request.headers.get("x-api-key", "").strip()


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorized", detail, {"www-authenticate": challenge})
