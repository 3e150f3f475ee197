"""The canonical parameter names, with unit and meaning: flespi's, the widest vocabulary published in the field.

`numbers`, `booleans` and `texts` of a canonical record are keyed by these names. What has no canonical name is kept
under `<source>.<original name>`. Names that end in `.N` stand for a numbered family (`adc.voltage.1`, `adc.voltage.2`).
The `lorawan.*` names are Fleetline's own: flespi has none for radio metadata.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "boolean", "text"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One canonical name: its kind, unit (empty when it has none) and meaning."""

    name: str
    kind: Kind
    unit: str
    description: str


def _table(kind: Kind, rows: str) -> tuple[Parameter, ...]:
    cells = ([cell.strip() for cell in row.split("|")] for row in rows.strip().splitlines())
    return tuple(Parameter(name, kind, unit, description) for name, unit, description in cells)


PARAMETERS: tuple[Parameter, ...] = (
    *_table(
        "number",
        """
        absolute.acceleration | g | Length of the acceleration vector
        adc.voltage.N | V | Analogue input
        ain.N | V | Analogue input as the tracker names it
        air.pressure | hPa | Barometric pressure
        ambient.air.temperature | °C | Outside air, as the vehicle measures it
        battery.current | A | Current into the battery
        battery.level | % | Charge of the device's battery
        battery.temperature | °C | The device's battery
        battery.voltage | V | The device's own battery
        co2 | ppm | Carbon dioxide in the air
        device.temperature | °C | Inside the device
        din | bitmask | Digital inputs, bit 0 = input 1
        dout | bitmask | Digital outputs, bit 0 = output 1
        engine.coolant.temperature | °C | Coolant
        engine.load.level | % | Calculated engine load
        engine.motorhours | h | Time the engine has run
        engine.rpm | rpm | Engine speed
        external.powersource.voltage | V | The vehicle's battery or other outside supply
        fuel.consumed | l | Fuel used since counting began
        fuel.consumption | l/h | Momentary consumption
        fuel.level | % | Tank
        fuel.volume | l | Tank
        gsm.mcc | | Mobile country code
        gsm.mnc | | Mobile network code
        gsm.lac | | Location area code
        gsm.cellid | | Cell
        gsm.signal.dbm | dBm | Mobile network signal
        gsm.signal.level | % | Mobile network signal
        gsm.signal.csq | | Mobile network signal, 0 to 31 as modems report it (AT+CSQ)
        humidity | % | Relative humidity
        illuminance | lx | Light
        intake.air.temperature | °C | Engine intake
        lorawan.bandwidth | Hz | Channel bandwidth
        lorawan.counter | | Uplink frame counter (fCnt)
        lorawan.data_rate | | Data rate index
        lorawan.frequency | Hz | Channel
        lorawan.gateways | | Gateways that heard the uplink
        lorawan.margin | dB | Demodulation margin of the device
        lorawan.port | | FPort
        lorawan.rssi | dBm | Signal strength at the gateway that heard it best
        lorawan.snr | dB | Signal to noise at the gateway that heard it best
        lorawan.spreading_factor | | LoRa spreading factor
        network.sent | B | Bytes the device sent over the mobile network
        network.received | B | Bytes the device received over the mobile network
        pcb.temperature | °C | The device's processor or board
        position.distance | m | Distance since the previous position
        position.vdop | | Vertical dilution of precision
        sequence.number | | Counter of a device's own records, one more each time: a gap is a lost record
        solar.voltage | V | Solar panel
        temperature | °C | Temperature as a sensor reports it, with no place named
        throttle.level | % | Throttle or accelerator position
        trip.duration | s | Current or last trip
        trip.idle.duration | s | Idle time in the current or last trip
        trip.mileage | km | Current or last trip
        vehicle.mileage | km | Odometer
        vehicle.speed | km/h | Wheel speed as the vehicle reports it
        x.acceleration | g | Forward axis
        y.acceleration | g | Left axis
        z.acceleration | g | Up axis
    """,
    ),
    *_table(
        "boolean",
        """
        alarm.event | | An alarm was raised
        battery.charging.status | | The device's battery is charging
        battery.low.status | | The device's battery is nearly empty
        din.N | | Digital input
        dout.N | | Digital output
        engine.ignition.status | | Ignition on
        engine.blocked.status | | Engine blocked by the immobilizer
        external.powersource.status | | Powered from outside
        gnss.status | | The receiver has a fix
        late.status | | Buffered: observed more than an hour before its platform took it
        lorawan.confirmed.status | | The uplink asked for confirmation
        movement.status | | Moving
        tamper.status | | Opened or removed
    """,
    ),
    *_table(
        "text",
        """
        alarm.type | | Kinds of alarm, comma-separated
        battery.state | | Charge state in the sender's words
        device.name | | Name of the device at its sender
        device.product | | Product or model code
        driver.id | | Driver's key or card
        firmware.version | | The device's firmware
        iccid | | SIM card
        imei | | Modem
        lorawan.payload | base64 | FRMPayload as received
        lorawan.region | | Regional parameters in use
        reason | | Why the device reported
        timestamp.sent | | The device's time as sent, when it could not be believed
        vehicle.vin | | Vehicle identification number
    """,
    ),
)

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def is_canonical(name: str) -> bool:
    """Tell whether a name is in the vocabulary, numbered families included."""
    stem, _, last = name.rpartition(".")
    return name in BY_NAME or (last.isdigit() and f"{stem}.N" in BY_NAME)
