"""Where senders put their secret: ready-made extractors for `Source.credentials`."""

import base64
import binascii

from sources.contract import Extractor, Request


def authorization(*schemes: str) -> Extractor:
    """Take the token behind one of `schemes` (any case) in the Authorization header: `Bearer x`, `token x`."""
    wanted = {scheme.lower() for scheme in schemes}

    def extract(request: Request) -> str:
        scheme, _, token = request.header("authorization").strip().partition(" ")
        return token.strip() if scheme.lower() in wanted else ""

    return extract


def whole_authorization(request: Request) -> str:
    """Take the whole Authorization value: BikeTrax sends its `webhookPsk` verbatim (BT-a09)."""
    return request.header("authorization").strip()


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
    return lambda request: request.header(lowered).strip()


def path_param(name: str) -> Extractor:
    """Take a part of the path, e.g. the device token in `/api/v1/{deviceToken}/telemetry`."""
    return lambda request: request.path_params.get(name, "")


def query(name: str) -> Extractor:
    """Take a query parameter, for senders that can set nothing but a URL."""
    return lambda request: request.query.get(name, "")
