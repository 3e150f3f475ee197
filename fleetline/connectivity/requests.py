"""Requests to show: a source's bundled samples as one device would send them, without what they do wrong on purpose."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
import orjson

from fleetline.connectivity.recipient import Recipient
from fleetline.connectivity.shell import SECRET
from sources.contract import Reading, Request, Source
from sources.routes import match, routes
from sources.samples import Sample, load_samples

_DIGITS = 5
"""Shorter numbers in a body are not taken for the device's id: `"id": 1` may be anything."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `SECRET` stands in path, query and headers where the secret belongs."""

    route: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    is_json: bool
    items: int
    has_child: bool
    """It speaks for a device behind a gateway."""
    names_recipient: bool
    """Every record of it holds an id of the recipient."""
    found_by: tuple[str, ...]
    """Kinds of the ids that are in it."""
    only_events: bool
    had_defects: bool
    """Some items of the sample were left out."""
    for_device: bool
    """It was made for a credential of one device."""

    @property
    def reaches_it(self) -> bool:
        """Tell whether its records are found to be the recipient's: by the credential, or by an id."""
        return self.for_device or self.names_recipient

    @property
    def content_type(self) -> str:
        """Return the content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def json(self) -> Any:
        """Return the body of one that is JSON."""
        return orjson.loads(self.body)


def shown_requests(source: Source, who: Recipient) -> list[Shown]:
    """Return every bundled sample that is taken without a complaint, the plainest first."""
    made = [_shown(source, sample, who) for sample in load_samples(source.name).values()]
    return sorted((each for each in made if each is not None), key=lambda each: _plainness(source, who, each))


def _plainness(source: Source, who: Recipient, shown: Shown) -> tuple[Any, ...]:
    return (
        shown.has_child,
        not shown.reaches_it if who.device_id else shown.for_device,
        shown.route != routes(source)[0],
        shown.only_events,
        shown.had_defects,
        not shown.is_json,
        len(shown.body),
        shown.query,
    )


def readings_of(source: Source, request: Request) -> list[Reading]:
    """Return what a source reads in a request. Raises whatever it raises."""
    return [reading for item in source.split(request) for reading in source.read(item, request)]


def read_or_none(source: Source, request: Request) -> list[Reading]:
    """Return what a source reads in a request, nothing where it refuses any part of it."""
    try:
        return readings_of(source, request)
    except Exception:  # noqa: BLE001  a sample that shows a defect is no example
        return []


def _shown(source: Source, sample: Sample, who: Recipient) -> Shown | None:
    if sample.status != 200 or not sample.canonical or "content-encoding" in sample.request.headers:
        return None
    path, query, headers = sample.filled(SECRET, quote(who.tenant_id, safe=""))
    route, parts = match(source, path)
    kept = {"content-type", *source.captured_headers}
    headers = {name: value for name, value in headers.items() if name in kept or SECRET in value}
    request = Request(
        method=sample.request.method,
        path=route,
        path_params=parts,
        query=dict(parse_qsl(query)),
        headers=headers,
        content_type=headers.get("content-type", ""),
        body=_without_defects(sample),
        device_id="device" if sample.credential else "",
    )
    readings = read_or_none(source, request)
    if not readings:
        return None
    replaced, before = _replacements(readings, who), len(readings)
    request = _renamed(request, replaced)
    readings = read_or_none(source, request)
    if len(readings) != before:  # two devices of it became one
        return None
    return Shown(
        route=route,
        method=request.method,
        path=quote(_replaced_path(path.rstrip("/"), replaced), safe="/" + SECRET),
        query=_replaced_query(query, replaced),
        headers=request.headers,
        body=request.body,
        is_json=sample.request.body is not None,
        items=len(source.split(request)),
        has_child=any(reading.child for reading in readings),
        names_recipient=all(_is_recipients(reading, who) for reading in readings),
        found_by=tuple(dict.fromkeys(identity.kind for reading in readings for identity in reading.identities)),
        only_events=all(reading.event_type for reading in readings),
        had_defects=bool(sample.quarantined),
        for_device=bool(sample.credential),
    )


def _without_defects(sample: Sample) -> bytes:
    """Leave out the items that the sample has to show how they are quarantined."""
    body = sample.request.body
    bad = {each.get("index") for each in sample.quarantined}
    items = body.get("items") if isinstance(body, dict) else body
    if not bad or not isinstance(items, list):
        return sample.request.body_bytes()
    good = [item for index, item in enumerate(items) if index not in bad]
    return orjson.dumps({**body, "items": good} if isinstance(body, dict) else good)


def _replacements(readings: Sequence[Reading], who: Recipient) -> dict[str, str]:
    """Return what stands for the sample's device and for the recipient: an id of the same kind."""
    found: dict[str, str] = {}
    for reading in readings:
        for identity in reading.identities:
            if identity.kind in who.ids:
                found.setdefault(identity.value, who.ids[identity.kind])
        if reading.child and who.device_id:
            found[reading.child] = who.child
    return found


def _renamed(request: Request, replaced: Mapping[str, str]) -> Request:
    if not replaced:
        return request
    body = request.body
    if body[:1] in {b"{", b"["}:
        body = orjson.dumps(_replaced(orjson.loads(body), replaced))
    return msgspec.structs.replace(
        request,
        body=body,
        query={name: replaced.get(value, value) for name, value in request.query.items()},
        headers={name: replaced.get(value, value) for name, value in request.headers.items()},
        path_params={name: replaced.get(value, value) for name, value in request.path_params.items()},
    )


def _replaced(value: Any, replaced: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {replaced.get(key, key): _replaced(each, replaced) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, replaced) for each in value]
    if isinstance(value, str):
        return replaced.get(value) or replaced.get(value.lower()) or value
    if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) >= _DIGITS:
        other = replaced.get(str(value))
        if other is not None:
            return int(other) if other.isdecimal() and other.isascii() and other[0] != "0" else other
    return value


def _replaced_path(path: str, replaced: Mapping[str, str]) -> str:
    return "/".join(replaced.get(part, part) for part in path.split("/"))


def _replaced_query(query: str, replaced: Mapping[str, str]) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(value in replaced for _, value in pairs):
        return query
    return urlencode([(name, replaced.get(value, value)) for name, value in pairs], quote_via=quote).replace(
        "%00", SECRET
    )


def _is_recipients(reading: Reading, who: Recipient) -> bool:
    return any(
        who.ids.get(identity.kind, "").lower() == identity.value.lower() != "" for identity in reading.identities
    )
