"""Gaps in a device's record counter: each once, and none for what is late, repeated or counted anew."""

import random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from processors.detect import Detection
from processors.detectors import load_detectors
from processors.detectors.sequence import DETECTOR
from processors.records import telemetry_headers
from schemas.records import Telemetry, event_reader, telemetry_writer
from schemas.topics import Topics
from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, canonicalize
from tests.support import telemetry


def record(number: float, at: int | None = None, time_source: str = "device") -> Telemetry:
    made = telemetry(int(number) if at is None else at)
    made["numbers"] = {"sequence.number": number}
    made["time_source"] = time_source
    return made


def run(records: list[Telemetry]) -> list[dict[str, Any]]:
    state, seen = None, []
    for each in records:
        state, events = DETECTOR.step(state, each)
        seen += [event.attributes for event in events]
        assert {event.type for event in events} <= {"sequenceGap"}
    return seen


def gap(first: int, last: int) -> dict[str, Any]:
    return {"firstMissing": first, "lastMissing": last, "missing": last - first + 1}


def test_the_detector_is_found_and_reads_only_records_with_a_number() -> None:
    assert "sequence" in {detector.name for detector in load_detectors()}
    silent = telemetry(1)
    assert not DETECTOR.reads(silent)
    assert DETECTOR.reads(record(1))


def test_a_jump_is_one_event_that_names_what_is_missing() -> None:
    # DM-c03
    numbers = [125, 128, 129, 130, 132, 5000]
    assert run([record(number) for number in numbers]) == [gap(126, 127), gap(131, 131), gap(133, 4999)]


def test_the_first_number_known_is_no_gap() -> None:
    assert run([record(7000), record(7001)]) == []


def test_a_record_sent_again_is_no_event_however_late() -> None:
    numbers = [1, 2, 3, 3, 2, 1, 3, 4, 4, 1, 5]
    assert run([record(number) for number in numbers]) == []


def test_a_backlog_that_fills_a_gap_makes_no_other() -> None:
    assert run([record(number) for number in (10, 15, 11, 12, 13, 14, 16)]) == [gap(11, 14)]


def test_a_counter_that_begins_again_is_no_gap() -> None:
    began_anew = [record(9000, at=100), record(0, at=101), record(1, at=102), record(4, at=103)]
    assert run(began_anew) == [gap(2, 3)]


def test_what_was_recorded_before_the_counter_began_again_is_late() -> None:
    records = [record(9000, at=100), record(0, at=102), record(9001, at=101), record(1, at=103)]
    assert run(records) == []


def test_two_records_of_one_second_may_change_places() -> None:
    assert run([record(1, at=1), record(3, at=5), record(2, at=5), record(4, at=6)]) == [gap(2, 2)]


def test_without_the_devices_own_time_only_a_higher_number_counts() -> None:
    records = [
        record(5, at=10),
        record(6, 99, "received"),
        record(3, 100, "received"),
        record(7, at=11),
        record(9, at=12),
    ]
    assert run(records) == [gap(8, 8)]


def test_a_number_that_is_none_changes_nothing() -> None:
    assert run([record(1), record(-5), record(2.5, at=3), record(float(2**60), at=4), record(2, at=5)]) == []


class Events:
    """What was produced to the topic of events."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def produce(self, topic: str, key: bytes, value: bytes, headers: Any = None) -> None:
        assert (topic, key, headers) == ("fleetline.events", b"device-1", None)
        self.made.append(event_reader()(value))


class Raw:
    """A record of the telemetry topic."""

    def __init__(self, record: Telemetry) -> None:
        self.headers, self.value = telemetry_headers(record), telemetry_writer()(record)


def test_a_post_of_digital_matter_with_a_gap_makes_the_event_once_however_often_it_comes() -> None:
    # DM-c03, DM-a15
    records = [{"SeqNo": n, "DateUTC": f"2026-01-01 00:00:{n:02}", "Reason": 11} for n in (7, 8, 12, 13)]
    body = orjson.dumps({"SerNo": 131693, "Records": records})
    request = Request(body=body, received_us=1_767_323_045_000_000, tenant_id="t", credential_id="c")
    events: Any = Events()
    detection = Detection(load_detectors(), Topics("fleetline."), events)
    table: dict[str, dict[str, Any]] = {}
    for _ in range(2):
        made = [m.record for m in canonicalize(load_source("digital_matter"), request) if isinstance(m, Canonical)]
        for each in made:
            each["device_id"] = "device-1"
        table |= detection.take([Raw(each) for each in made], table)
    (event,) = events.made
    assert (event["type"], orjson.loads(event["attributes"])) == ("sequenceGap", gap(9, 11))
    assert event["cause_id"] == made[2]["id"]
    assert table == {"device-1": {"sequence": [13, made[3]["observed_us"]]}}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40, unique=True), st.integers(0, 2**32), st.data())
def test_gaps_in_order_are_exactly_what_is_missing_and_repeating_adds_nothing(
    numbers: list[int], seed: int, data: st.DataObject
) -> None:
    ordered = sorted(numbers)
    once = run([record(number) for number in ordered])
    missing = {n for each in once for n in range(each["firstMissing"], each["lastMissing"] + 1)}
    assert missing == set(range(ordered[0], ordered[-1] + 1)) - set(ordered)
    again: list[int] = []
    shuffle = random.Random(seed)
    for place, number in enumerate(ordered):
        again += [number, *shuffle.sample(ordered[: place + 1], data.draw(st.integers(0, min(3, place + 1))))]
    assert run([record(number) for number in again]) == once
