"""Turning what a stage found into the record the next one reads."""

import orjson

from processors.detectors import Detected, load_detectors
from processors.output import Headers
from schemas import topics
from schemas.ids import content_id
from schemas.records import Event, Telemetry
from sources.contract import Request, Source
from sources.engine import Defect

DETECT = "detect"
"""Header of a telemetry record that some detector wants to see: the others need not be decoded."""
_WANTED: Headers = [(DETECT, b"1")]


def event_of(record: Telemetry, made_type: str, attributes: str, origin: str) -> Event:
    """Make the event that `record` caused. Its id is a function of the cause and the type: detecting again changes nothing."""
    return {
        "id": content_id(record["id"], b"event", made_type.encode("utf-8", "replace")),
        "tenant_id": record["tenant_id"],
        "device_id": record["device_id"],
        "type": made_type,
        "observed_us": record["observed_us"],
        "received_us": record["received_us"],
        "sent_us": record["sent_us"],
        "origin": origin,
        "cause_id": record["id"],
        "source": record["source"],
        "source_device": record["source_device"],
        "attributes": attributes,
        "latitude": record["latitude"],
        "longitude": record["longitude"],
        "altitude_m": record["altitude_m"],
        "speed_kmh": record["speed_kmh"],
        "course_deg": record["course_deg"],
        "accuracy_m": record["accuracy_m"],
        "fix_us": record["fix_us"],
        "fix_valid": record["fix_valid"],
    }


def detected_event(record: Telemetry, detected: Detected) -> Event:
    """Make the event a detector found."""
    attributes = orjson.dumps(detected.attributes).decode() if detected.attributes else ""
    return event_of(record, detected.type, attributes, "detected")


def telemetry_headers(record: Telemetry) -> Headers | None:
    """Mark the records that some detector reads."""
    for detector in load_detectors():
        if detector.reads(record):
            return _WANTED
    return None


def quarantine_headers(source: Source, request: Request, defect: Defect, original: Headers) -> Headers:
    """Add to the original headers why the piece is here and where its whole body lies."""
    return [
        *original,
        (topics.QUARANTINE_REASON, defect.reason.encode("utf-8", "replace")),
        (topics.QUARANTINE_DETAIL, defect.detail.encode("utf-8", "replace")),
        (topics.QUARANTINE_STAGE, b"normalize"),
        (topics.QUARANTINE_SOURCE, source.name.encode()),
        (topics.QUARANTINE_INDEX, b"%d" % (-1 if defect.index is None else defect.index)),
        (topics.ORIGIN_TOPIC, request.topic.encode()),
        (topics.ORIGIN_PARTITION, b"%d" % request.partition),
        (topics.ORIGIN_OFFSET, b"%d" % request.offset),
    ]
