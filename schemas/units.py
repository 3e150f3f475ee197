"""Unit conversions, each named by what it turns into what. Normalizers convert with these and nothing else."""

KMH_PER_KNOT = 1.852
KMH_PER_CM_S = 0.036
KMH_PER_M_S = 3.6
V_PER_MV = 0.001
KM_PER_M = 0.001
HOURS_PER_MS = 1 / 3_600_000
M_PER_KM = 1000.0
MS_PER_HOUR = 3_600_000.0
"""To divide by: a quotient is the nearest double there is, so nothing has to be rounded away."""
SECONDS_PER_MS = 0.001
HOURS_PER_S = 1 / 3600
KMH_PER_MPH = 1.609344
PERCENT_PER_HUNDREDTH = 0.01
PERCENT_PER_TENTH = 0.1
CELSIUS_PER_CENTIDEGREE = 0.01
V_PER_CV = 0.01
MV_PER_V = 1000
CV_PER_V = 100
CENTIDEGREES_PER_CELSIUS = 100
TENTHS_PER_PERCENT = 10
HUNDREDTHS_PER_PERCENT = 100
PA_PER_HPA = 100
TENTHS_PER_ONE = 10
THOUSANDTHS_PER_ONE = 1000
S_PER_HOUR = 3600
CELSIUS_PER_FAHRENHEIT = 5 / 9
CELSIUS_AT_0_F = -160 / 9
CELSIUS_AT_0_K = -273.15
PERCENT_PER_ONE = 100.0


def scaled(value: float, factor: float) -> float:
    """Multiply, and round away the dust binary fractions leave behind (12,345 mV is 12.345 V, not 12.345000000000001)."""
    return round(value * factor, 9)


def divided(value: float, divisor: float) -> float:
    """Divide. Of a whole number the quotient is the nearest one there is, so that it leaves no dust and costs no rounding."""
    return value / divisor if value.__class__ is int else round(value / divisor, 9)


def kmh_of_cm_s(speed: float) -> float:
    """Turn cm/s into km/h, like `divided`."""
    return speed * 36 / 1000 if speed.__class__ is int else scaled(speed, KMH_PER_CM_S)


def shifted(value: float, factor: float, offset: float) -> float:
    """Convert between scales with different zeros (212 °F is 100 °C), without the dust of binary fractions."""
    return round(value * factor + offset, 9)
