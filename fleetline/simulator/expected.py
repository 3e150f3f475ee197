"""What a request must become: the source's own normalizer run on the very bytes that are sent."""

from urllib.parse import parse_qsl

import msgspec

from fleetline.errors import FleetlineError
from fleetline.simulator.profile import Outgoing, SimDevice
from schemas.times import now_us
from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Defect, canonicalize
from sources.raw_record import raw_headers, request_from_raw
from sources.samples import route_parts


class Expected(msgspec.Struct, frozen=True, gc=False):
    """A canonical record that must be stored: its id, and whether an event is made of it."""

    id: bytes
    is_event: bool


def expected_records(device: SimDevice, outgoing: Outgoing) -> tuple[Expected, ...]:
    """Return the records of a request, in its order.

    Their ids are known beforehand because a message with a time or a key of its own gets the same id whenever it is
    accepted. Raises FleetlineError when the normalizer does not understand the request: then the profile is wrong.
    """
    source = load_source(device.source)
    headers = dict(outgoing.headers)
    at_the_edge = Request(
        body=source.seal(outgoing.body),
        transport=device.transport,
        method=outgoing.method,
        path=outgoing.path,
        path_params=route_parts(source, outgoing.path),
        query=dict(parse_qsl(outgoing.query, keep_blank_values=True)),
        headers=headers,
        content_type=headers.get("content-type", ""),
        received_us=now_us(),
        tenant_id=device.tenant_id,
        credential_id=device.credential_id,
        device_id=device.credential_device_id,
    )
    stored = request_from_raw(raw_headers(at_the_edge, source), at_the_edge.body, "", 0, 0)
    found: list[Expected] = []
    for made in canonicalize(source, stored):
        if isinstance(made, Defect):
            raise FleetlineError(
                f"the simulated {device.source} request is not understood: {made.reason} {made.detail}"
            )
        found.append(Expected(made.record["id"], bool(made.record["event_type"])))
    return tuple(found)
