"""How one source's messages are accepted, whatever transport brings them: who speaks, and when it is durable."""

import hmac
import logging
from collections.abc import Callable, Iterable

from fleetline.settings import Settings
from ingress.durable import DurableLog
from ingress.errors import NotDurable, TooLarge, TooManyRequests, Unauthorized
from ingress.limits import RateLimits
from registry.model import Credential, integration_id
from registry.view import RegistryView
from schemas.ids import new_id
from schemas.times import now_us
from sources.contract import OnFailure, Request, Source
from sources.errors import Refused
from sources.raw_record import raw_headers

log = logging.getLogger(__name__)

NEVER_MADE = (
    "the tenant that tenantId names has no webhook secret yet, or there is no such tenant; "
    "make one: fleetline tenant secret TENANT"
)
"""The same for both: a stranger must not learn which tenants there are (AC-b08)."""


class Acceptance:
    """Takes the messages of `source` from HTTP, MQTT, WebSocket or a connector, in the same two steps."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        view: RegistryView,
        durable: DurableLog,
        limits: RateLimits,
        caught_up: Callable[[], bool],
    ) -> None:
        self.source = source
        self.limit = settings.max_body_bytes
        self._topic = settings.topics.raw(source.name)
        self._global_secret = settings.integration_webhook_secret.get_secret_value().encode()
        self._view = view
        self._durable = durable
        self._append = durable.appender(source.on_failure)
        self._limits = limits
        self._caught_up = caught_up

    def authenticate(self, request: Request) -> Credential:
        """Find whose secret was presented, and whether it may speak now.

        Raises Unauthorized, which says nothing about why unless no webhook secret was ever made, and TooManyRequests;
        NotDurable while the registry is still being read: nobody is told that a good credential is a wrong one.
        """
        for extract in self.source.credentials:
            try:
                presented = extract(request)
            except Exception as error:  # noqa: BLE001  no stranger's header may cost more than a 401
                presented = self._mistaken("credentials", error)
            for secret in _spellings(presented):
                found = self._find(request, secret)
                if found is not None:
                    self._admit(found)
                    return found
        if not self._caught_up():
            raise NotDurable("the registry has not been read yet")
        raise Unauthorized(NEVER_MADE if self._lacks_secret(request) else "")

    def _lacks_secret(self, request: Request) -> bool:
        """Tell whether the tenant that is named has no webhook secret that could have been meant: one lookup, no scan."""
        source = self.source
        if self._global_secret or not (source.tenant_secret and source.tenant_query):
            return False
        tenant_id = request.query.get(source.tenant_query, "")
        return bool(tenant_id) and self._view.credential(integration_id(tenant_id)) is None

    def _admit(self, credential: Credential) -> None:
        """Hold a sender to its rate. One that never sends again is held to it only when the process is under pressure."""
        try:
            self._limits.admit(credential)
        except TooManyRequests:
            if self.source.on_failure is OnFailure.RESENDS or self._durable.is_pressed:
                raise

    def hold(self, size: int) -> None:
        """Count so many more bytes of a body that is still coming, see `DurableLog.hold`. Raises NotDurable."""
        self._durable.hold(self.source.on_failure, size)

    async def store(self, request: Request, credential: Credential) -> None:
        """Return once the message is durable. `request.body` is inflated; ids, times and ownership are filled in here.

        Raises Refused, TooLarge, or NotDurable: then nothing counts as accepted and the sender must not be told so. The
        message may be durable all the same; sent again it has the same canonical ids.
        """
        source = self.source
        if len(request.body) > self.limit:
            raise TooLarge(f"the body is larger than {self.limit} bytes")
        request.received_us = now_us()
        request.record_id = new_id()
        request.tenant_id = credential.tenant_id
        request.credential_id = credential.id
        request.device_id = credential.device_id
        try:
            source.check(request)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001  quarantine will show it; a 500 would come again for days
            self._mistaken("check", error)
        request.body = source.seal(request.body)  # a mistake here must not store a secret: it is a 500
        try:
            key = source.ordering_key(request)
        except Exception as error:  # noqa: BLE001  the record is worth more than its place
            key = self._mistaken("ordering_key", error)
        key = key or credential.device_id or credential.id
        await self._append(self._topic, key.encode("utf-8", "replace"), request.body, raw_headers(request, source))

    def _find(self, request: Request, secret: str) -> Credential | None:
        source = self.source
        found = self._view.credential_for(source.name, source.tenant_secret, secret) or self._global(request, secret)
        if found is None:
            return None
        if source.tenant_query and request.query.get(source.tenant_query, found.tenant_id) != found.tenant_id:
            raise Unauthorized  # AC-a23: tenant A's secret with tenant B's id
        return found

    def _mistaken(self, what: str, error: Exception) -> str:
        """Report a mistake of the source's and return nothing. Only the error's type: its text may quote a secret."""
        log.error("%s of source %s failed with %s", what, self.source.name, type(error).__name__)
        return ""

    def _global(self, request: Request, secret: str) -> Credential | None:
        """Accept the operators' secret for the tenant the query names (AC-a24); an empty one opens nothing."""
        source = self.source
        if not (self._global_secret and source.tenant_secret and source.tenant_query):
            return None
        if not hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._global_secret):
            return None
        tenant = self._view.tenant(request.query.get(source.tenant_query, ""))
        if tenant is None:
            return None
        # of this tenant alone: its rate and its place among the partitions are its own
        return Credential(id=f"integration:{tenant.id}", tenant_id=tenant.id, source=source.name, digest="")


def _spellings(presented: str) -> Iterable[str]:
    """Yield the secrets a text may mean: HTTP hands header values over as Latin-1, while people write UTF-8."""
    if not presented:
        return ()
    if presented.isascii():
        return (presented,)
    try:
        return (presented, presented.encode("latin-1").decode())
    except UnicodeError:
        return (presented,)
