"""Posts again what was refused: a request as it was, with the credential it should have had."""

import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from ingress.rejected import Rejected
    from sources.contract import Source

TIMEOUT_S = 10.0
_PATIENCE = 5
_BUSY = (429, 503)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is no 200: the ingress sends none, and a body must not go astray."""

    def redirect_request(self, *_: Any) -> None:
        return None


def resend(
    refused: "Iterable[Rejected]", source: "Source", url: str, headers: Mapping[str, str], parts: Mapping[str, str]
) -> Iterator[tuple["Rejected", int]]:
    """Post each request to `url`, oldest first, and yield it with its status. 503 and 429 are waited for.

    `headers` and `parts` (secret parts of the path and the query, by name) hold the credential. Raises FleetlineError when
    the ingress cannot be reached or stays busy, and at the first 401: the rest would only be refused, and kept, once more.
    """
    if not url.startswith(("http://", "https://")):
        raise FleetlineError(f"{url!r} is no http or https address")
    opener = urllib.request.build_opener(_NoRedirect)
    for each in refused:
        target = url.rstrip("/") + filled(each.path, source, parts)
        request = urllib.request.Request(target, each.body or None, {**each.headers, **headers}, method=each.method)  # noqa: S310  looked at above
        status = _send(opener, request, url)
        if status == 401:
            raise FleetlineError(f"{each.rejected_at}: still 401, so nothing more is sent; that is not the credential")
        yield each, status


def filled(path: str, source: "Source", parts: Mapping[str, str]) -> str:
    """Return a kept path with its secret parts put back, ready for a request line. Raises FleetlineError when one is missing."""
    plain, _, query = path.partition("?")
    for name in source.secret_path_parts:
        if f"{{{name}}}" in plain and name not in parts:
            raise FleetlineError(f"the path {plain} holds the credential: give it with --part {name}=VALUE")
    steps = [_step(step, source, parts) for step in plain.split("/")]
    pairs = [
        (name, parts.get(name, value) if name in source.secret_query else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in source.secret_query or name in parts
    ]
    return "/".join(steps) + (f"?{urlencode(pairs)}" if pairs else "")


def _step(step: str, source: "Source", parts: Mapping[str, str]) -> str:
    name = step[1:-1] if step.startswith("{") and step.endswith("}") else ""
    return quote(parts[name] if name in source.secret_path_parts else step, safe="")


def _send(opener: urllib.request.OpenerDirector, request: urllib.request.Request, url: str) -> int:
    for attempt in range(_PATIENCE):
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _BUSY:
                return error.code
            wait = error.headers.get("retry-after", "")
            if attempt + 1 < _PATIENCE:
                sleep(min(int(wait), 30) if wait.isdecimal() else 5)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise FleetlineError(f"no ingress at {url} ({reason}); start it, or name it with --url") from None
    raise FleetlineError(
        f"the ingress at {url} is too busy, or its Kafka is away; what was sent has arrived, repeat later"
    )
