"""Ignition on and off: the change of `engine.ignition.status`, by observed time."""

from collections.abc import Iterable

from processors.detectors import Detected, Detector, State
from schemas.records import Telemetry

ON, OFF = "ignitionOn", "ignitionOff"
"""Traccar's names, the field's most used."""
_PARAMETER = "engine.ignition.status"


def reads(record: Telemetry) -> bool:
    """Tell whether the record says anything about the ignition."""
    return _PARAMETER in record["booleans"] or record["event_type"] in {ON, OFF}


def step(state: State, record: Telemetry) -> tuple[State, Iterable[Detected]]:
    """Compare with the last known state `[on, observed_us]`.

    The first known state causes no event, a late record changes nothing. A sender that reports the change itself (BikeTrax)
    sets the state without a second event.
    """
    sent = record["event_type"] in {ON, OFF}
    is_on = record["event_type"] == ON if sent else record["booleans"][_PARAMETER]
    observed = record["observed_us"]
    if state is None:
        return [is_on, observed], ()
    was_on, at = state
    if observed < at:
        return state, ()
    if is_on == was_on or sent:
        return [is_on, observed], ()
    return [is_on, observed], (Detected(ON if is_on else OFF),)


DETECTOR = Detector(name="ignition", reads=reads, step=step)
