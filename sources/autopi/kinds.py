"""What the fields of each documented AutoPi `@t` are called here, and in which units they may come."""

from collections.abc import Mapping

from schemas.units import (
    CELSIUS_AT_0_F,
    CELSIUS_AT_0_K,
    CELSIUS_PER_FAHRENHEIT,
    KMH_PER_M_S,
    KMH_PER_MPH,
    PERCENT_PER_ONE,
    V_PER_MV,
)
from sources.contract import NOTHING

COLUMNS: Mapping[str, str] = {
    "alt": "altitude_m",
    "sog": "speed_kmh",
    "cog": "course_deg",
    "hdop": "hdop",
    "pdop": "pdop",
}
"""Fields of a position that are columns. `sog` is km/h in the device's code; the guide states no unit (AP-c04)."""

_BATTERY = {"voltage": "external.powersource.voltage", "level": "battery.level", "state": "battery.state"}
_BATTERIES = (".bat", ".battery")
_AXES = {"x": "x.acceleration", "y": "y.acceleration", "z": "z.acceleration"}

FIELDS: Mapping[str, Mapping[str, str]] = {
    "obd.bat": _BATTERY,
    "ec2x.data_usage": {"sent": "network.sent", "recv": "network.received"},
    "acc.xyz": _AXES,
    "acc.acc_xyz": _AXES,
    "rpi.temp": {"cpu": "pcb.temperature", "value": "pcb.temperature"},
    "obd.rpm": {"value": "engine.rpm"},
    "obd.speed": {"value": "vehicle.speed"},
    "obd.coolant_temp": {"value": "engine.coolant.temperature"},
    "obd.engine_load": {"value": "engine.load.level"},
    "obd.fuel_level": {"value": "fuel.level"},
    "obd.fuel_rate": {"value": "fuel.consumption"},
    "obd.intake_temp": {"value": "intake.air.temperature"},
    "obd.ambiant_air_temp": {"value": "ambient.air.temperature"},
    "obd.ambient_air_temp": {"value": "ambient.air.temperature"},
    "obd.throttle_pos": {"value": "throttle.level"},
    "obd.elm_voltage": {"value": "external.powersource.voltage"},
    "obd.control_module_voltage": {"value": "external.powersource.voltage"},
    "obd.vin": {"value": "vehicle.vin"},
}
"""`@t` -> field -> canonical name. AutoPi has no battery of its own: the one `obd.bat` measures is the vehicle's."""

NESTED: Mapping[str, Mapping[str, Mapping[str, str]]] = {"acc.gyro_acc_xyz": {"acc": _AXES}}
"""`@t` -> field that is an object -> its fields -> canonical name."""

TEXTS = frozenset(("battery.state", "vehicle.vin"))

Unit = tuple[float, float]
"""What a value is multiplied by, and what is added then."""
AS_IT_IS: Unit = (1.0, 0.0)

_PERCENT = {"%": AS_IT_IS, "percent": AS_IT_IS, "ratio": (PERCENT_PER_ONE, 0.0)}
_CELSIUS = {
    **dict.fromkeys(("c", "°c", "celsius", "degc", "degree_celsius", "degrees_celsius"), AS_IT_IS),
    **dict.fromkeys(
        ("f", "°f", "fahrenheit", "degf", "degree_fahrenheit", "degrees_fahrenheit"),
        (CELSIUS_PER_FAHRENHEIT, CELSIUS_AT_0_F),
    ),
    **dict.fromkeys(("k", "kelvin", "degk"), (1.0, CELSIUS_AT_0_K)),
}
_KMH = {
    **dict.fromkeys(("kph", "kmh", "km/h", "kilometer_per_hour", "kilometers_per_hour", "kilometer/hour"), AS_IT_IS),
    **dict.fromkeys(
        ("mph", "mi/h", "mile_per_hour", "miles_per_hour", "mile/hour"),
        (KMH_PER_MPH, 0.0),
    ),
    **dict.fromkeys(("m/s", "mps", "meter/second", "meter_per_second"), (KMH_PER_M_S, 0.0)),
}
_RPM = dict.fromkeys(("rpm", "1/min", "revolutions_per_minute", "revolution_per_minute", "revolution/minute"), AS_IT_IS)
_LITRES_PER_HOUR = dict.fromkeys(("lph", "l/h", "liters_per_hour", "liter_per_hour", "liter/hour"), AS_IT_IS)
_VOLT = {**dict.fromkeys(("v", "volt", "volts"), AS_IT_IS), **dict.fromkeys(("mv", "millivolt"), (V_PER_MV, 0.0))}

UNITS: Mapping[str, Mapping[str, Unit]] = {
    "obd.elm_voltage": _VOLT,
    "obd.control_module_voltage": _VOLT,
    "obd.rpm": _RPM,
    "obd.speed": _KMH,
    "obd.coolant_temp": _CELSIUS,
    "obd.intake_temp": _CELSIUS,
    "obd.ambiant_air_temp": _CELSIUS,
    "obd.ambient_air_temp": _CELSIUS,
    "rpi.temp": _CELSIUS,
    "obd.engine_load": _PERCENT,
    "obd.fuel_level": _PERCENT,
    "obd.throttle_pos": _PERCENT,
    "obd.fuel_rate": _LITRES_PER_HOUR,
}
"""`@t` -> unit as written, in lower case without spaces -> conversion. A value in another unit keeps its own name: nothing
is guessed."""


def fields_of(kind: str) -> Mapping[str, str]:
    """Return the canonical names of a kind's fields. Any service of the device can measure the battery: `spm.bat`."""
    found = FIELDS.get(kind)
    if found is None:
        return _BATTERY if kind.endswith(_BATTERIES) else NOTHING
    return found


def unit_of(kind: str, written: object) -> Unit | None:
    """Say how values of `kind` are converted; None when their unit is stated and not known."""
    if not isinstance(written, str) or not written:
        return AS_IT_IS
    units = UNITS.get(kind)
    return AS_IT_IS if units is None else units.get("".join(written.lower().split()))
