"""What the fields of each documented AutoPi `@t` are called here, and in which units they may come."""

from collections.abc import Mapping

from schemas.units import KMH_PER_MPH

COLUMNS: Mapping[str, str] = {
    "alt": "altitude_m",
    "sog": "speed_kmh",
    "cog": "course_deg",
    "hdop": "hdop",
    "pdop": "pdop",
}
"""Fields of `track.pos` that are columns. `sog` is km/h in the device's code; the guide states no unit (AP-c04)."""

FIELDS: Mapping[str, Mapping[str, str]] = {
    "obd.bat": {"voltage": "external.powersource.voltage", "level": "battery.level", "state": "battery.state"},
    "ec2x.data_usage": {"sent": "network.sent", "recv": "network.received"},
    "acc.xyz": {"x": "x.acceleration", "y": "y.acceleration", "z": "z.acceleration"},
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
}
"""`@t` -> field -> canonical name. AutoPi has no battery of its own: the one `obd.bat` measures is the vehicle's."""

TEXTS = frozenset(("battery.state",))

_PERCENT = dict.fromkeys(("%", "percent"), 1.0)
_CELSIUS = dict.fromkeys(("c", "°c", "celsius", "degc", "degree_celsius"), 1.0)
_KMH = dict.fromkeys(("kph", "kmh", "km/h", "kilometer_per_hour", "kilometer / hour"), 1.0)
_RPM = dict.fromkeys(("rpm", "revolutions_per_minute", "revolution / minute"), 1.0)
_LITRES_PER_HOUR = dict.fromkeys(("lph", "l/h", "liters_per_hour", "liter_per_hour", "liter / hour"), 1.0)

UNITS: Mapping[str, Mapping[str, float]] = {
    "obd.rpm": _RPM,
    "obd.speed": _KMH | {"mph": KMH_PER_MPH},
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
"""`@t` -> unit as written -> factor. A value in a unit not listed here keeps its own name: nothing is guessed."""
