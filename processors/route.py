"""Route: one delivery task per event and destination, so that one slow destination can never hold another's."""

from collections.abc import Iterable
from typing import Any

import orjson

from processors.output import Output
from processors.undecodable import Decoder
from registry.view import RegistryView
from schemas.ids import content_id, format_id
from schemas.records import Event, event_reader
from schemas.times import now_us
from schemas.topics import Topics
from schemas.view import event_view


class Router:
    """Fans events out to the destinations of their tenant. The same event and destination give the same task id."""

    def __init__(self, topics: Topics, view: RegistryView, output: Output) -> None:
        self._topic = topics.deliveries
        self._view = view
        self._produce = output.produce
        self._read = Decoder("route", event_reader(), topics, output)

    def take(self, records: Iterable[Any]) -> None:
        """Produce the tasks of one partition's events, in order."""
        for raw in records:
            event = self._read(raw)
            if event is None:
                continue
            for destination in self._view.destinations(event["tenant_id"]):
                if destination.types and event["type"] not in destination.types:
                    continue
                self._produce(self._topic, destination.id.encode(), orjson.dumps(self._task(event, destination.id)))

    def _task(self, event: Event, destination_id: str) -> dict[str, Any]:
        device = self._view.device(event["device_id"])
        return {
            "id": format_id(content_id(event["id"], destination_id.encode())),
            "destination_id": destination_id,
            "tenant_id": event["tenant_id"],
            "event": event_view(event),
            "device": {
                "id": event["device_id"],
                "name": device.name if device else "",
                "attributes": device.attributes if device else {},
            },
            "attempt": 0,
            "created_us": now_us(),
        }
