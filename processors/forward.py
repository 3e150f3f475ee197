"""Sending a record on whose device is known: to telemetry, and to events when the sender itself made one of it."""

from processors.output import Output
from processors.records import event_of, telemetry_headers
from registry.view import Identified
from schemas.records import Telemetry, event_writer, telemetry_writer
from schemas.topics import Topics


def name_device(record: Telemetry, found: Identified) -> None:
    """Write into a record whose it is, as far as that is known."""
    record["device_id"] = found.device_id
    if found.gateway_id:
        record["gateway_id"] = found.gateway_id
    if found.mismatch:
        record["booleans"]["identity.mismatch"] = True


class Forward:
    """What becomes of a record with a device, whether it was known at once or the record had to wait for it."""

    def __init__(self, topics: Topics, output: Output) -> None:
        self._telemetry = topics.telemetry
        self._events = topics.events
        self._produce = output.produce
        self._write = telemetry_writer()
        self._write_event = event_writer()

    def __call__(self, record: Telemetry) -> None:
        """Produce it under its device."""
        key = record["device_id"].encode()
        self._produce(self._telemetry, key, self._write(record), telemetry_headers(record))
        if record["event_type"]:
            event = event_of(record, record["event_type"], record["event_attributes"], "sender")
            self._produce(self._events, key, self._write_event(event))
