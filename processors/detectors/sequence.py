"""Gaps in a device's own record counter: records it made and nobody received (DM-c03).

A device with a finite memory overwrites its oldest records while it cannot reach its platform: nothing else shows that.
Sources that know such a counter set `sequence.number`.
"""

from collections.abc import Iterable

from processors.detectors import Detected, Detector, State
from schemas.records import Telemetry

GAP = "sequenceGap"
_PARAMETER = "sequence.number"
_LIMIT = 2**53


def reads(record: Telemetry) -> bool:
    """Tell whether the record carries its number."""
    return _PARAMETER in record["numbers"]


def step(state: State, record: Telemetry) -> tuple[State, Iterable[Detected]]:
    """Compare with the highest number so far, `[number, observed_us]`.

    One event names all that is missing between two numbers: `firstMissing`, `lastMissing`, `missing`. What the device
    observed before that time changes nothing, so neither a record sent again nor a backlog that fills a gap makes another.
    A lower number that is really newer is a counter that began again: no event. A record whose time is not the device's
    own may be either, so there only a higher number counts.
    """
    number = record["numbers"][_PARAMETER]
    if not 0 <= number < _LIMIT or number != int(number):
        return state, ()
    current = int(number)
    is_timed = record["time_source"] == "device"
    observed = record["observed_us"] if is_timed else 0
    if state is None:
        return [current, observed], ()
    last, at = state
    if is_timed and observed < at:
        return state, ()
    if current > last:
        return [current, max(observed, at)], _gap(last, current)
    if current < last and observed > at:
        return [current, observed], ()
    return state, ()


def _gap(last: int, current: int) -> Iterable[Detected]:
    missing = current - last - 1
    if not missing:
        return ()
    return (Detected(GAP, {"firstMissing": last + 1, "lastMissing": current - 1, "missing": missing}),)


DETECTOR = Detector(name="sequence", reads=reads, step=step)
