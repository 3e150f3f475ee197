"""Normalize and identify: raw records become telemetry, sender-made events, quarantine and unmapped records."""

from collections.abc import Callable, Iterable
from typing import Any

from processors.forward import Forward, name_device
from processors.limits import DefectLimits
from processors.output import Output
from processors.records import quarantine_headers
from processors.sender import Sender
from registry.view import UNKNOWN, Identified, RegistryView
from schemas.records import telemetry_writer
from schemas.topics import SENDER, Topics
from sources.contract import Source
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw

Produce = Callable[..., None]


class Normalizer:
    """Normalizes the raw records of one source. Pure but for what it produces; the same record gives the same output."""

    def __init__(
        self, source: Source, topics: Topics, view: RegistryView, output: Output, limits: DefectLimits
    ) -> None:
        self._source = source
        self._topics = topics
        self._view = view
        self._produce = output.produce
        self._limits = limits
        self._write = telemetry_writer()
        self._forward = Forward(topics, output)

    def take(self, records: Iterable[Any]) -> int:
        """Read Kafka records in order, produce what they hold, and return how many canonical records that was.

        Raises TooManyDefects when our own code fails on too much of it.
        """
        source = self._source
        count = 0
        for raw in records:
            request = request_from_raw(raw.headers, raw.value or b"", raw.topic, raw.partition, raw.offset)
            readable = 0
            found, identities, child = UNKNOWN, None, ""
            for made in canonicalize(source, request):
                if isinstance(made, Canonical):
                    # A body's records are mostly one device's, and sources remember what identities they made of an id.
                    if made.identities is not identities or made.child != child:
                        identities, child = made.identities, made.child
                        found = self._view.identify(request.tenant_id, request.device_id, identities, child)
                    self._keep(made, found, request.device_id)
                    readable += 1
                else:
                    headers = quarantine_headers(source, request, made, list(raw.headers or ()))
                    self._produce(self._topics.quarantine, source.name.encode(), made.piece, headers)
                    self._limits.defect(made.reason)
            if readable:
                self._limits.readable(readable)
                count += readable
        return count

    def _keep(self, made: Canonical, found: Identified, credential_device_id: str) -> None:
        name_device(made.record, found)
        if found.device_id:
            self._forward(made.record)
            return
        sender = Sender.of(made, credential_device_id)
        self._produce(self._topics.unmapped, sender.key(), self._write(made.record), [(SENDER, sender.header())])
