"""The machine-readable catalogue: transports, and for every source its endpoints, what opens it and an example (AC-b01).

Everything follows from the settings and the sources' declarations. It holds no secret and is the same for everybody.
"""

import base64
from collections.abc import Mapping
from typing import Any

from fleetline.connectivity.addresses import Address, Addresses, addresses
from fleetline.connectivity.commands import frames
from fleetline.connectivity.examples import connects_itself, secret_kind, setup_of
from fleetline.connectivity.recipient import Recipient
from fleetline.connectivity.record_types import as_json
from fleetline.connectivity.requests import Shown, shown_requests
from fleetline.connectivity.shell import SECRET
from fleetline.connectivity.webhooks import places, tenant_query
from fleetline.settings import Settings
from sources.contract import Source
from sources.routes import parts_of, routes

VERSION = 1
"""Of the catalogue's form; raised when something in it changes its meaning or goes."""
_ANYBODY = Recipient(tenant_id="{tenant}")
_OPENED_BY = {
    "device token": "a credential of one device; it speaks for that device and the devices behind it",
    "credential": "a credential of this source, for one device or for all of a tenant's",
    "tenant secret": "the tenant's webhook secret, or a credential of this source",
}
_MADE_BY = {
    "device token": "fleetline device connect DEVICE --rotate",
    "credential": "fleetline credential create --source {source} [--device DEVICE]",
    "tenant secret": "fleetline tenant secret TENANT",
}
_ACKNOWLEDGED = {
    "http": "200 with an empty body: every byte is durable. Anything else: nothing is promised, send it again.",
    "mqtt": "PUBACK (QoS 1), PUBREC (QoS 2): every byte is durable. QoS 0 is never acknowledged.",
    "websocket": '{"type": "ack"}: the frame is durable. {"type": "error"}: nothing of it is kept.',
}


def catalog(settings: Settings, sources: Mapping[str, Source]) -> dict[str, Any]:
    """Return the catalogue; JSON-able. URLs begin with PUBLIC_API_BASE_URL (AC-b02), `{…}` is to be filled in."""
    doors = addresses(settings)
    return {
        "version": VERSION,
        "base_url": doors.http.url,
        "transports": _transports(doors, sources),
        "sources": [_source(settings, doors, source) for source in sources.values()],
    }


def _transports(doors: Addresses, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        "http": {
            **_door(doors.http),
            "versions": ["HTTP/1.1", "HTTP/1.0"],
            "auth": "as each source says; a token in a path is a secret like one in a header",
            "acknowledged": _ACKNOWLEDGED["http"],
            "encodings": ["gzip", "deflate", "zstd", "lz4"],
            "sources": list(sources),
        },
        "mqtt": {
            **_door(doors.mqtt),
            "versions": ["3.1", "3.1.1", "5.0"],
            "auth": "user name: the token; password: empty, or anything",
            "qos": [0, 1, 2],
            "acknowledged": _ACKNOWLEDGED["mqtt"],
            "sources": [name for name, source in sources.items() if source.mqtt_topics],
        },
        # AC-b11: an endpoint and a port of its own, opened by device tokens alone; people never come in here.
        "websocket": {
            **_door(doors.websocket),
            "versions": ["13"],
            "auth": "the first frame, within 10 s",
            "frames": {name: _readable(frame) for name, frame in zip(("auth", "telemetry"), frames({}), strict=True)},
            "acknowledged": _ACKNOWLEDGED["websocket"],
            "sources": [name for name, source in sources.items() if source.websocket],
        },
    }


def _door(address: Address) -> dict[str, Any]:
    return {"url": address.url, "host": address.host, "port": address.port, "tls": address.tls}


def _source(settings: Settings, doors: Addresses, source: Source) -> dict[str, Any]:
    kind = secret_kind(source)
    shown = shown_requests(source, _ANYBODY)
    return {
        "name": source.name,
        "title": source.title,
        "opened_by": {
            "kind": kind,
            "what": _OPENED_BY[kind],
            "make": _MADE_BY[kind].format(source=source.name),
            "places": [{"in": place.where, "name": place.name, "value": place.value} for place in places(source)],
        },
        "http": {
            "methods": list(source.methods),
            "content_types": sorted({each.content_type for each in shown} - {""}),
            "https_only": source.name in settings.https_only,
            "endpoints": [_endpoint(source, doors, route) for route in _all_routes(settings, source)],
        },
        "mqtt": {"topics": [_topic(source, topic) for topic in source.mqtt_topics]} if source.mqtt_topics else None,
        "websocket": {"url": doors.websocket.url} if source.websocket else None,
        "limits": {"body_bytes": settings.max_body_bytes, "batch_items": source.largest_batch or None},
        "without_acknowledgement": f"it {source.on_failure.consequence}",
        "setup": [{"where": where, "value": value} for where, value in setup_of(source, doors, "{tenant}")],
        "examples": _examples(shown),
        "type_key": source.type_key or None,
        "record_types": as_json(source),
        "docs": list(source.links),
    }


def _all_routes(settings: Settings, source: Source) -> list[str]:
    return [*routes(source), *(path for path, name in settings.path_map.items() if name == source.name)]


def _endpoint(source: Source, doors: Addresses, route: str) -> dict[str, Any]:
    query = tenant_query(source, "{tenant}")
    return {
        "url": f"{doors.http.url}{route}{query}",
        "path": route,
        "parts": {name: _meaning(source, name) for name in parts_of(route)},
        "query": {source.tenant_query: "the tenant's id"} if source.tenant_query else {},
    }


def _topic(source: Source, topic: str) -> dict[str, Any]:
    return {"topic": topic, "parts": {name: _meaning(source, name) for name in parts_of(topic)}}


def _meaning(source: Source, part: str) -> str:
    if part in source.secret_path_parts:
        return "the device's token" if connects_itself(source) else "the secret"
    return "an id of the device"


def _examples(shown: list[Shown]) -> list[dict[str, Any]]:
    """Return the plainest request on each route and of each content type."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for each in shown:
        example = {
            "route": each.route,
            "method": each.method,
            "path": _readable(each.path),
            "query": _readable(each.query),
            "headers": {name: _readable(value) for name, value in each.headers.items()},
            **_body(each),
        }
        made.setdefault((each.route, each.content_type), example)
    return list(made.values())


def _body(shown: Shown) -> dict[str, Any]:
    if shown.is_json:
        return {"body": shown.json}
    return {"body_base64": base64.b64encode(shown.body).decode()} if shown.body else {}


def _readable(text: str) -> str:
    return text.replace(SECRET, "{secret}").replace("%7Btenant%7D", "{tenant}")
