"""Detectors are pure: the same records give the same events, late ones change nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.detectors import load_detectors
from processors.detectors.ignition import DETECTOR
from processors.limits import DefectLimits, TooManyDefects
from processors.records import event_of
from schemas.records import Telemetry, event_reader, event_writer
from tests.support import telemetry


def record(at: int, is_on: bool, event: str = "") -> Telemetry:
    made = telemetry(at)
    made["booleans"] = {"engine.ignition.status": is_on}
    made["event_type"] = event
    return made


def run(records: list[Telemetry]) -> tuple[Any, list[str]]:
    state, seen = None, []
    for each in records:
        state, events = DETECTOR.step(state, each)
        seen += [event.type for event in events]
    return state, seen


def test_detectors_are_found_in_their_folder() -> None:
    assert "ignition" in {detector.name for detector in load_detectors()}


def test_the_first_known_state_is_no_event() -> None:
    assert run([record(1, True)])[1] == []


def test_each_change_is_one_event() -> None:
    assert run([record(n, n in {2, 3, 6}) for n in range(1, 8)])[1] == [
        "ignitionOn",
        "ignitionOff",
        "ignitionOn",
        "ignitionOff",
    ]


def test_a_sender_that_reports_the_change_gets_no_second_event() -> None:
    assert run([record(1, False), record(2, True, "ignitionOn"), record(3, True), record(4, False)])[1] == [
        "ignitionOff"
    ]


def test_a_record_without_ignition_is_not_looked_at() -> None:
    silent = telemetry(1)
    silent["booleans"] = {}
    assert not DETECTOR.reads(silent)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data())
def test_a_late_record_never_flips_the_state(states: list[bool], data: st.DataObject) -> None:
    known = [record(100 + n, is_on) for n, is_on in enumerate(states)]
    late = record(data.draw(st.integers(0, 99)), data.draw(st.booleans()))
    place = data.draw(st.integers(1, len(known)))
    assert run([*known[:place], late, *known[place:]]) == run(known)


def test_an_event_has_the_same_id_however_often_it_is_made() -> None:
    cause = record(1, True)
    first, again = (event_of(cause, "ignitionOn", "", "detected") for _ in range(2))
    other = event_of(cause, "ignitionOff", "", "detected")
    assert first["id"] == again["id"] != other["id"]
    assert event_reader()(event_writer()(first))["cause_id"] == cause["id"]


def test_errors_of_our_own_in_a_row_stop_the_worker() -> None:
    limits = DefectLimits(in_a_row=5)
    for _ in range(4):
        limits.defect("normalizer_error")
    limits.readable(1)
    for _ in range(4):
        limits.defect("normalizer_error")
    try:
        limits.defect("normalizer_error")
    except TooManyDefects:
        return
    raise AssertionError("it must stop")


def test_too_high_a_share_of_our_own_errors_stops_the_worker() -> None:
    limits = DefectLimits(in_a_row=10**9, share=0.1, window=1_000)
    try:
        for _ in range(1_000):
            limits.readable(3)
            limits.defect("normalizer_error")
    except TooManyDefects:
        return
    raise AssertionError("it must stop")


def test_what_senders_get_wrong_never_stops_the_worker() -> None:
    limits = DefectLimits(in_a_row=5, window=100)
    for _ in range(100_000):
        limits.defect("not_json")
