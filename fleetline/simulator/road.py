"""Where a simulated vehicle is: it drives, turns at crossings, stops at lights, and never leaves the road for the sea."""

import math
import random
from dataclasses import dataclass

_METRES_PER_DEGREE = 111_320.0
_TOWNS = ((48.2082, 16.3738), (52.5200, 13.4050), (47.3769, 8.5417), (57.0488, 9.9217), (40.4168, -3.7038))
_LONGEST_STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A vehicle at a moment. `n` counts its readings from 0; `time_us` grows from one to the next."""

    n: int
    time_us: int
    latitude: float
    longitude: float
    altitude_m: float
    speed_kmh: float
    course_deg: float
    moving: bool
    odometer_m: int
    battery_v: float


class Drive:
    """One vehicle's way, a function of its random generator and of the times asked for."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        latitude, longitude = chance.choice(_TOWNS)
        self._latitude = latitude + chance.uniform(-0.05, 0.05)
        self._longitude = longitude + chance.uniform(-0.05, 0.05)
        self._course = float(chance.randrange(0, 360, 15))
        self._speed = 0.0
        self._target = 50.0
        self._metres = float(chance.randrange(1_000_000, 200_000_000))
        self._until_crossing_m = 150.0
        self._n = 0
        self._last_us = 0

    def at(self, now_us: int) -> Moment:
        """Drive on to the present and return the moment; never twice the same time."""
        time_us = max(now_us, self._last_us + 1)
        elapsed = min((time_us - self._last_us) / 1e6, _LONGEST_STEP_S) if self._last_us else 1.0
        self._last_us = time_us
        self._advance(elapsed)
        n, self._n = self._n, self._n + 1
        return Moment(
            n=n,
            time_us=time_us,
            latitude=round(self._latitude, 7),
            longitude=round(self._longitude, 7),
            altitude_m=round(180 + 20 * math.sin(self._metres / 4000), 1),
            speed_kmh=round(self._speed, 1),
            course_deg=round(self._course % 360, 1),
            moving=self._speed > 2,
            odometer_m=int(self._metres),
            battery_v=round(13.9 + self._chance.uniform(-0.2, 0.2), 2),
        )

    def _advance(self, seconds: float) -> None:
        change = self._target - self._speed
        self._speed += max(-15.0 * seconds, min(9.0 * seconds, change))
        metres = self._speed / 3.6 * seconds
        self._metres += metres
        radians = math.radians(self._course)
        self._latitude += metres * math.cos(radians) / _METRES_PER_DEGREE
        self._longitude += metres * math.sin(radians) / (_METRES_PER_DEGREE * math.cos(math.radians(self._latitude)))
        self._course += self._chance.uniform(-2, 2) * min(seconds, 1.0)
        self._until_crossing_m -= metres
        if self._until_crossing_m < 0 or (self._speed < 1 and self._target < 1 and self._chance.random() < 0.2):
            self._crossing()

    def _crossing(self) -> None:
        self._until_crossing_m = self._chance.uniform(120, 900)
        self._course += self._chance.choice((0, 0, 0, 90, -90))
        self._target = self._chance.choice((0, 30, 50, 50, 50, 80))
