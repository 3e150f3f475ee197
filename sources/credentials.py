"""Where senders put their secret: ready-made extractors for `Source.credentials`, each saying which place it looks at."""

import base64
import binascii
from collections.abc import Callable

import msgspec

from sources.contract import Extractor, Request

USER = "user"
"""Stands for the user name of Basic authentication, which is not looked at."""


class Place(msgspec.Struct, frozen=True):
    """One place for a secret: `where` is `header`, `query` or `path`; `{secret}` in `value` stands for the secret.

    A `name` in braces is the value of the query parameter called so.
    """

    where: str
    name: str
    value: str = "{secret}"


def presented_in(*places: Place) -> Callable[[Extractor], Extractor]:
    """Have an extractor say where it looks, the usual place first; documents and examples are made from it."""

    def note(extract: Extractor) -> Extractor:
        vars(extract)["places"] = places
        return extract

    return note


def places_of(extract: Extractor) -> tuple[Place, ...]:
    """Return where an extractor looks."""
    return getattr(extract, "places", ())


def authorization(*schemes: str) -> Extractor:
    """Take the token behind one of `schemes` (any case) in the Authorization header: `Bearer x`, `token x`."""
    wanted = {scheme.lower() for scheme in schemes}

    @presented_in(*(Place("header", "authorization", f"{scheme.capitalize()} {{secret}}") for scheme in schemes))
    def extract(request: Request) -> str:
        scheme, _, token = request.header("authorization").strip().partition(" ")
        return token.strip() if scheme.lower() in wanted else ""

    return extract


@presented_in(Place("header", "authorization"))
def whole_authorization(request: Request) -> str:
    """Take the whole Authorization value: BikeTrax sends its `webhookPsk` verbatim (BT-a09)."""
    return request.header("authorization").strip()


@presented_in(Place("header", "authorization", f"Basic base64({USER}:{{secret}})"))
def basic_password(request: Request) -> str:
    """Take the password of HTTP Basic authentication; the user name is not a secret and is not looked at."""
    scheme, _, encoded = request.header("authorization").strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return decoded.decode("utf-8", "replace").partition(":")[2]


def header(name: str) -> Extractor:
    """Take a header's whole value."""
    lowered = name.lower()
    return presented_in(Place("header", lowered))(lambda request: request.header(lowered).strip())


def path_param(name: str) -> Extractor:
    """Take a part of the path, e.g. the device token in `/api/v1/{deviceToken}/telemetry`."""
    return presented_in(Place("path", name))(lambda request: request.path_params.get(name, ""))


def query(name: str) -> Extractor:
    """Take a query parameter, for senders that can set nothing but a URL."""
    return presented_in(Place("query", name))(lambda request: request.query.get(name, ""))
