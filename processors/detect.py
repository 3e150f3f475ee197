"""Detect: telemetry of each device in order, through every detector, to events."""

from collections.abc import Iterable, MutableMapping
from typing import Any

from processors.detectors import Detector, State
from processors.output import Output
from processors.records import DETECT, detected_event
from processors.undecodable import Decoder
from schemas.records import Telemetry, event_writer, telemetry_reader
from schemas.topics import Topics


class Detection:
    """Runs the detectors over one chunk, and keeps the states that changed until `changed` is written to the table.

    Order of effects: the events are durable before the table knows the new state, and the table before the chunk is
    acknowledged. A crash in between detects again from the older state: the same events, with the same ids.
    """

    def __init__(self, detectors: tuple[Detector, ...], topics: Topics, output: Output) -> None:
        self._detectors = detectors
        self._topic = topics.events
        self._produce = output.produce
        self._read = Decoder("detect", telemetry_reader(), topics, output)
        self._write = event_writer()

    def take(
        self, records: Iterable[Any], states: MutableMapping[str, dict[str, State]]
    ) -> dict[str, dict[str, State]]:
        """Detect in one partition's records; produce the events and return the devices' new states.

        Table writes are coalesced per chunk: each costs a changelog record.
        """
        changed: dict[str, dict[str, State]] = {}
        for raw in records:
            if raw.headers and any(name == DETECT for name, _ in raw.headers):
                record = self._read(raw)
                if record is None:
                    continue
                device = record["device_id"]
                known = changed.get(device)
                if known is None:
                    known = dict(states.get(device) or {})
                if self._step(record, known):
                    changed[device] = known
        return changed

    def _step(self, record: Telemetry, known: dict[str, State]) -> bool:
        moved = False
        for detector in self._detectors:
            if not detector.reads(record):
                continue
            before = known.get(detector.name)
            after, events = detector.step(before, record)
            for event in events:
                made = detected_event(record, event)
                self._produce(self._topic, record["device_id"].encode(), self._write(made))
            if after != before:
                known[detector.name] = after
                moved = True
        return moved
