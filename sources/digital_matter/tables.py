"""Digital Matter's codes, as far as public receivers and fixtures show them; its own document is not public."""

from collections.abc import Mapping

from schemas.units import CELSIUS_PER_CENTIDEGREE, PERCENT_PER_HUNDREDTH, PERCENT_PER_TENTH, V_PER_CV, V_PER_MV

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

PRODUCTS: Mapping[int, str] = {
    88: "Bolt2",
    89: "G70 4G",
    97: "Yabby3 4G",
    128: "Arrow Global Bluetooth",
    142: "Hawk",
}

ANALOGUES: Mapping[str, tuple[str, float]] = {
    "1": ("battery.voltage", V_PER_MV),
    "2": ("external.powersource.voltage", V_PER_CV),
    "3": ("device.temperature", CELSIUS_PER_CENTIDEGREE),
    "4": ("gsm.signal.csq", 1.0),
    "6": ("battery.level", PERCENT_PER_TENTH),
}
"""Analogue number -> canonical name and factor. Number 5 is another thing on every product, so it stays raw (DM-c07)."""

COUNTERS: Mapping[str, tuple[str, float]] = {
    "0": ("battery.voltage", V_PER_MV),
    "1": ("battery.level", PERCENT_PER_HUNDREDTH),
}
