"""Where senders reach the doors: one address per transport, all of them from the settings."""

from urllib.parse import urlsplit

import msgspec

from fleetline.settings import Settings

_DEFAULT_PORTS = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104  compared with, not listened on


class Address(msgspec.Struct, frozen=True):
    """One door as senders see it; `url` has no trailing slash."""

    url: str
    host: str
    port: int
    tls: bool


class Addresses(msgspec.Struct, frozen=True):
    """The three doors."""

    http: Address
    mqtt: Address
    websocket: Address


def addresses(settings: Settings) -> Addresses:
    """Return the doors: everything is where PUBLIC_API_BASE_URL says (AC-b02), else where this machine listens.

    MQTT and WebSocket are on its host and their own ports (AC-b14), unless `public_mqtt_url` and `public_websocket_url` place
    them elsewhere.
    """
    tls = "s" if settings.tls_certificate else ""
    here = "localhost" if settings.host in _EVERYWHERE else settings.host
    http = _address(settings.public_api_base_url or f"http{tls}://{bracketed(here)}:{settings.ingress_port}")
    host = bracketed(http.host)
    return Addresses(
        http,
        _address(settings.public_mqtt_url or f"mqtt{tls}://{host}:{settings.mqtt_port}"),
        _address(settings.public_websocket_url or f"ws{tls}://{host}:{settings.websocket_port}"),
    )


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _address(url: str) -> Address:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return Address(url.rstrip("/"), parts.hostname or "localhost", port, parts.scheme in {"https", "mqtts", "wss"})
