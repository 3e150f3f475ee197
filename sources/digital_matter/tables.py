"""Digital Matter's codes, as far as public receivers and fixtures show them; its own document is not public (DM-c06)."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.units import CENTIDEGREES_PER_CELSIUS, CV_PER_V, HUNDREDTHS_PER_PERCENT, MV_PER_V, TENTHS_PER_PERCENT

REASONS: Mapping[int, str] = {
    0: "reserved",
    1: "start of trip",
    2: "end of trip",
    3: "elapsed time",
    4: "speed change",
    5: "heading change",
    6: "distance travelled",
    7: "maximum speed",
    8: "stationary",
    9: "digital input changed",
    10: "digital output changed",
    11: "heartbeat",
    12: "harsh brake",
    13: "harsh acceleration",
    14: "harsh cornering",
    15: "external power change",
    16: "system power monitoring",
    17: "driver id tag read",
    18: "over speed",
    19: "fuel sensor record",
    20: "towing alert",
    21: "debug",
    22: "sdi-12 sensor data",
    23: "accident",
    24: "accident data",
    25: "sensor value elapsed time",
    26: "sensor value change",
    27: "sensor alarm",
    28: "rain gauge tipped",
    29: "tamper alert",
    30: "blob notification",
    31: "time and attendance",
    32: "trip restart",
    33: "tag gained",
    34: "tag update",
    35: "tag lost",
    36: "recovery mode on",
    37: "recovery mode off",
    38: "immobiliser on",
    39: "immobiliser off",
    40: "garmin fmi stop response",
    41: "lone worker alarm",
    42: "device counters",
    43: "connected device data",
    44: "entered geofence",
    45: "exited geofence",
    46: "high-g event",
    47: "third party data record",
    48: "duress",
    49: "cell tower connection",
    50: "bluetooth tag data",
}

ALARMS: Mapping[int, str] = {
    12: "hardBraking",
    13: "hardAcceleration",
    14: "hardCornering",
    18: "overspeed",
    20: "tow",
    23: "accident",
    27: "general",
    29: "tampering",
    41: "loneWorker",
    44: "geofenceEnter",
    45: "geofenceExit",
    46: "highG",
    48: "sos",
}
"""Reasons that are events by themselves, by Traccar's names of alarms (`loneWorker` and `highG` are ours: it has none)."""

PRODUCTS: Mapping[int, str] = {
    77: "Oyster2",
    88: "Bolt2",
    89: "G70 4G",
    97: "Yabby3 4G",
    100: "Hawk",
    128: "Arrow Global Bluetooth",
    142: "Hawk",
}


class Scale(NamedTuple):
    """What a number is: its canonical name, how many of its unit make one of ours, and the values it can have."""

    name: str
    divisor: float
    low: float
    high: float


PROFILE_VERSION = 2
"""Raise it with any change below: every record names the version its units were read with (DM-c07)."""

_EVERY: Mapping[str, Scale] = {
    "1": Scale("battery.voltage", MV_PER_V, 0, 100),
    "2": Scale("external.powersource.voltage", CV_PER_V, 0, 1_000),
    "3": Scale("device.temperature", CENTIDEGREES_PER_CELSIUS, -100, 200),
    "4": Scale("gsm.signal.csq", 1, 0, 31),
    "6": Scale("battery.level", TENTHS_PER_PERCENT, 0, 100),
}
_WIRED = {**_EVERY, "5": Scale("adc.voltage.1", MV_PER_V, 0, 100)}
_BATTERY = {**_EVERY, "5": Scale("digital_matter.battery.voltage.loaded", MV_PER_V, 0, 100)}
_PROFILES: Mapping[int, Mapping[str, Scale]] = {77: _BATTERY, 88: _WIRED, 89: _WIRED, 97: _BATTERY}
"""Number 5 is the analogue input of a vehicle tracker, the loaded battery of an Oyster or a Yabby, a solar panel elsewhere, and
whatever is wired to a Hawk."""

UNCERTAIN_ANALOGUE = "5"
LEVEL_ANALOGUE = "6"
LEVEL_IN_HUNDREDTHS = Scale("battery.level", HUNDREDTHS_PER_PERCENT, 0, 100)
"""One receiver divides the level by 10; an Oyster2 sends 9992 and a Falcon 9381, which are no tenths."""

COUNTERS: Mapping[str, Scale] = {
    "0": Scale("battery.voltage", MV_PER_V, 0, 100),
    "1": Scale("battery.level", HUNDREDTHS_PER_PERCENT, 0, 100),
}


def analogues_of(product: int) -> Mapping[str, Scale]:
    """Return what the analogue numbers of a product are; those that differ between products only for known ones."""
    return _PROFILES.get(product, _EVERY)


def profile_name(product: int) -> str:
    """Name the units a product's records are read with, e.g. `89/2`, `any/2`."""
    return f"{product if product in _PROFILES else 'any'}/{PROFILE_VERSION}"
