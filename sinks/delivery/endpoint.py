"""A destination made ready for sending: its URL parsed, its secret opened, its headers built, once per version of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from yarl import URL

from registry.errors import SealingError
from registry.model import Destination
from registry.sealing import unseal
from sinks.delivery.task import Task

if TYPE_CHECKING:
    from fleetline.settings import Settings

_CONTROL = {chr(code) for code in (*range(9), *range(10, 32), 127)}


class Directory(Protocol):
    """Where destinations are looked up, e.g. `registry.follower.RegistryFollower.view`."""

    def destination(self, destination_id: str) -> Destination | None:
        """Return a destination, enabled or not."""


class Unusable(ValueError):
    """A task cannot be sent to its destination, now or later. The text says why, for the attempt log."""


class Unknown(Unusable):
    """There is no such destination: it was removed, or the registry view does not have it yet."""


class Sealed(Exception):
    """The destination's secret cannot be opened by this component: the operator's mistake, so the task is kept."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to post. `log_url` may be shown: no user, password, query or fragment."""

    url: URL
    log_url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Endpoint({self.log_url!r})"


class Endpoints:
    """Endpoints by destination, made again when the registry has a new version."""

    def __init__(self, settings: "Settings", directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._made: dict[str, tuple[Destination, Endpoint]] = {}

    def of(self, task: Task) -> Endpoint:
        """Return the endpoint of a task. Raises Unknown, Unusable or Sealed."""
        destination = self._directory.destination(task.destination_id)
        if destination is None:
            self._made.pop(task.destination_id, None)
            raise Unknown("the destination does not exist (any more)")
        if destination.tenant_id != task.tenant_id:
            raise Unusable("the destination belongs to another tenant")
        if not destination.enabled:
            raise Unusable("the destination is disabled")
        known = self._made.get(destination.id)
        if known is not None and known[0] is destination:
            return known[1]
        endpoint = self._make(destination)
        self._made[destination.id] = (destination, endpoint)
        return endpoint

    def _make(self, destination: Destination) -> Endpoint:
        if destination.kind != "webhook":
            raise Unusable(f"the destination is of kind {destination.kind!r}, which this version cannot deliver to")
        try:
            url = URL(destination.url)
            port = url.port
        except ValueError:
            raise Unusable("the destination's URL cannot be read") from None
        if url.scheme not in ("http", "https") or not url.host or not port:
            raise Unusable("the destination's URL is not an http or https URL")
        headers: dict[str, str] = {}
        try:
            psk = unseal(self._settings, destination.sealed_psk)
        except SealingError as error:
            raise Sealed(str(error)) from error
        if psk:
            if _CONTROL & set(psk):
                raise Unusable("the destination's secret has characters that no header may have")
            headers["Authorization"] = psk  # verbatim (BT-b11)
            url = url.with_user(None)  # two credentials cannot be sent, the secret wins
        return Endpoint(url, log_url(destination.url), headers)


def log_url(url: str) -> str:
    """Return a URL without user, password, query and fragment: any of them may be a secret."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return ""
