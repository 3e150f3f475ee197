"""Identify: from what a message says of its sender to the device, among 100,000 of one tenant; limit: a bare dict lookup.

The mix is that of a mixed fleet: ids of trackers, DevEUIs as networks write them, devices behind gateways, and devices
with a credential of their own. The limit looks the same texts up in one dict, in the same loop.
"""

import gc
import time
from typing import Any

import msgspec

from registry.model import DEV_EUI, EXTERNAL_ID, Device
from registry.view import RegistryView
from sources.contract import Identity

DEVICES = 100_000
GATEWAY_EVERY = 100
LOOKUPS = 200_000
ROUNDS = 3

Question = tuple[str, tuple[Identity, ...], str]
"""(device of the credential, identities, child)."""


def _fleet() -> tuple[RegistryView, list[Device]]:
    view = RegistryView()
    devices = [_device(number) for number in range(DEVICES)]
    for device in devices:
        view.apply(f"device/{device.id}", msgspec.json.encode(device))
    return view, devices


def _device(number: int) -> Device:
    gateway = number - number % GATEWAY_EVERY
    attributes = {
        EXTERNAL_ID: f"ext-{number}",
        DEV_EUI: f"{number:016x}",
        "imei": f"{number:015}",
        "serial": f"S{number}",
    }
    return Device(
        id=f"device-{number}",
        tenant_id="tenant",
        name=f"Device {number}",
        attributes=attributes,
        gateway=number == gateway,
        parent_id="" if number == gateway else f"device-{gateway}",
    )


def _question(device: Device, turn: int) -> Question:
    kind = turn % 5
    if kind == 0:
        return "", (Identity("imei", device.attributes["imei"]),), ""
    if kind == 1:
        return "", (Identity("external_id", device.attributes[EXTERNAL_ID]),), ""
    if kind == 2:
        return "", (Identity("dev_eui", device.attributes[DEV_EUI].upper()),), ""
    if kind == 3 and device.parent_id:
        return device.parent_id, (), device.name
    return device.id, (Identity("serial", device.attributes["serial"]),), ""


def _identify_seconds(view: RegistryView, questions: list[Question]) -> float:
    identify = view.identify
    started = time.perf_counter()
    for credential_device, identities, child in questions:
        identify("tenant", credential_device, identities, child)
    return time.perf_counter() - started


def _lookup_seconds(table: dict[str, Device], keys: list[str]) -> float:
    started = time.perf_counter()
    for key in keys:
        table[key]
    return time.perf_counter() - started


def run() -> dict[str, Any]:
    """Measure: best of three rounds of each, taken in turns."""
    view, devices = _fleet()
    asked = [
        devices[turn * 7919 % DEVICES] for turn in range(LOOKUPS)
    ]  # a prime: every device, in no order caches like
    questions = [_question(device, turn) for turn, device in enumerate(asked)]
    for device, question in zip(asked, questions, strict=True):
        found = view.identify("tenant", *question)
        if found.device_id != device.id or found.mismatch:
            raise AssertionError(f"{question} found {found}, not {device.id}")
    keys = [identities[0].value if identities else child for _, identities, child in questions]
    table = {
        key.encode().decode(): device for key, device in zip(keys, asked, strict=True)
    }  # texts of its own, as there
    gc.collect()
    rounds = [(_identify_seconds(view, questions), _lookup_seconds(table, keys)) for _ in range(ROUNDS)]
    value = LOOKUPS / min(identified for identified, _ in rounds)
    limit = LOOKUPS / min(looked_up for _, looked_up in rounds)
    return {
        "name": "identity",
        "value": value,
        "unit": "lookups/s",
        "limit": limit,
        "ratio": value / limit,
        "peers": {},
        "microseconds_per_lookup": 1e6 / value,
    }
