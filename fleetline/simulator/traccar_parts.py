"""Positions and devices in Traccar's model: knots, metres, milliseconds (`model/Position.java`)."""

from typing import Any

from fleetline.simulator.profile import SimDevice
from fleetline.simulator.road import Moment
from schemas.times import format_us
from schemas.units import KMH_PER_KNOT


def stamp(time_us: int) -> str:
    """Print a time as Traccar does: milliseconds, numeric offset."""
    return f"{format_us(time_us)[:23]}+00:00"


def position_part(device: SimDevice, moment: Moment, number: int = 0) -> dict[str, Any]:
    """Make the `position` of a forward; its id is 0 before it was stored."""
    time = stamp(moment.time_us)
    return {
        "id": number,
        "attributes": {
            "sat": 7 + moment.n % 9,
            "ignition": moment.moving,
            "motion": moment.moving,
            "batteryLevel": 100 - moment.n // 50 % 90,
            "power": moment.battery_v,
            "distance": round(moment.speed_kmh / 3.6, 2),
            "totalDistance": moment.odometer_m + moment.n / 100,
            "index": moment.n,
        },
        "deviceId": device.number,
        "protocol": "teltonika",
        "serverTime": time,
        "deviceTime": time,
        "fixTime": time,
        "valid": True,
        "latitude": moment.latitude,
        "longitude": moment.longitude,
        "altitude": moment.altitude_m,
        "speed": round(moment.speed_kmh / KMH_PER_KNOT, 5),
        "course": moment.course_deg,
        "address": None,
        "accuracy": 4.0,
        "network": None,
    }


def device_part(device: SimDevice, moment: Moment) -> dict[str, Any]:
    """Make the `device` of a forward."""
    return {
        "id": device.number,
        "attributes": {},
        "groupId": 0,
        "name": device.name,
        "uniqueId": device.imei,
        "status": "online",
        "lastUpdate": stamp(moment.time_us),
        "positionId": 0,
        "geofenceIds": [],
        "disabled": False,
    }
