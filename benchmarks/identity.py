"""Identify: from what a message says of its sender to the device, among 100,000 of one tenant; limit: a bare dict lookup.

The mix is that of a mixed fleet: ids of trackers, DevEUIs as networks write them, devices behind gateways, devices
with a credential of their own. The limit looks the same texts up in one dict, in the same loop. Messages are made just before
they are asked for, as a normalizer does: they are in the processor's caches, the registry is not.
"""

import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from processors.limits import DefectLimits
from processors.normalize import Normalizer
from processors.output import Output
from registry.model import DEV_EUI, EXTERNAL_ID, Device
from registry.view import Identified, RegistryView
from schemas.topics import Topics
from sources.catalog import load_sources
from sources.contract import Identity, Source
from sources.engine import Canonical, canonicalize
from sources.golden import sample_request
from sources.raw_record import raw_headers
from sources.samples import Sample, load_samples

DEVICES = 100_000
GATEWAY_EVERY = 100
LOOKUPS = 200_000
AT_ONCE = 1_000
ROUNDS = 3
TENANTS = 300
"""So many tenants have the devices of the samples, for the share of `normalize`."""
NORMALIZED = 3_000

Question = tuple[str, str, tuple[Identity, ...], str]
"""(tenant, device of the credential, identities, child)."""


def run() -> dict[str, Any]:
    """Measure: best of three rounds of each, taken in turns."""
    view, devices = _fleet()
    asked = [
        devices[turn * 7919 % DEVICES] for turn in range(LOOKUPS)
    ]  # a prime: every device, in no order caches like
    table = {_key(_question(device, turn)): device for turn, device in enumerate(asked)}
    rounds = [(_identify_seconds(view, asked), _lookup_seconds(table, asked)) for _ in range(ROUNDS)]
    value = LOOKUPS / min(identified for identified, _ in rounds)
    limit = LOOKUPS / min(looked_up for _, looked_up in rounds)
    shares = {name: _share(view, source) for name, source in load_sources().items()}
    return {
        "name": "identity",
        "value": value,
        "unit": "lookups/s",
        "limit": limit,
        "ratio": value / limit,
        "peers": {},
        "microseconds_per_lookup": 1e6 / value,
        **{f"percent of normalize: {name}": 100 * share for name, share in sorted(shares.items())},
        "percent of normalize, at most": 100 * max(shares.values()),
    }


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
        return "tenant", "", (Identity("imei", device.attributes["imei"]),), ""
    if kind == 1:
        return "tenant", "", (Identity("external_id", device.attributes[EXTERNAL_ID]),), ""
    if kind == 2:
        return "tenant", "", (Identity("dev_eui", device.attributes[DEV_EUI].upper()),), ""
    if kind == 3 and device.parent_id:
        return "tenant", device.parent_id, (), device.name
    return "tenant", device.id, (Identity("serial", device.attributes["serial"]),), ""


def _key(question: Question) -> str:
    _, _, identities, child = question
    return identities[0].value if identities else child


def _identify_seconds(view: RegistryView, asked: list[Device]) -> float:
    identify, spent = view.identify, 0.0
    for begin in range(0, LOOKUPS, AT_ONCE):
        devices = asked[begin : begin + AT_ONCE]
        questions: list[Question] = msgspec.json.decode(
            msgspec.json.encode([_question(device, begin + turn) for turn, device in enumerate(devices)]),
            type=list[Question],
        )
        started = time.process_time()
        for question in questions:
            identify(*question)
        spent += time.process_time() - started
        for device, question in zip(devices, questions, strict=True):
            found = identify(*question)
            if found.device_id != device.id or found.mismatch:
                raise AssertionError(f"{question} found {found}, not {device.id}")
    return spent


def _lookup_seconds(table: dict[str, Device], asked: list[Device]) -> float:
    spent = 0.0
    for begin in range(0, LOOKUPS, AT_ONCE):
        devices = asked[begin : begin + AT_ONCE]
        keys = [_key(_question(device, begin + turn)) for turn, device in enumerate(devices)]
        keys = msgspec.json.decode(msgspec.json.encode(keys))
        started = time.process_time()
        for key in keys:
            table[key]
        spent += time.process_time() - started
    return spent


# --- what it adds to normalize ---------------------------------------------------------------------------------------


def _share(view: RegistryView, source: Source) -> float:
    """Return what finding the device costs a record of a source, as a share of the rest of the stage."""
    samples = [sample for sample in load_samples(source.name).values() if sample.canonical and sample.devices]
    tenants = [f"{source.name} {number}" for number in range(TENANTS)]
    for number, tenant_id in enumerate(tenants):
        for each in _declared(samples, tenant_id, number):
            view.apply(f"device/{each.id}", msgspec.json.encode(each))
    questions = [
        question
        for sample in samples
        for question in _questions(source, sample)
        if _is_known(view, question, tenants[0])
    ]
    identified = min(_asked_seconds(view, questions, tenants) for _ in range(ROUNDS)) / len(questions) / TENANTS
    normalized = min(_normalized_seconds(source, samples) for _ in range(ROUNDS))
    return identified / normalized


def _declared(samples: list[Sample], tenant_id: str, number: int) -> Iterator[Device]:
    for declared in {each.id: each for sample in samples for each in sample.devices}.values():
        ids = {DEV_EUI: declared.dev_eui, "imei": declared.imei, "serial": declared.serial}
        yield Device(
            id=f"{declared.id}.{number}",
            tenant_id=tenant_id,
            name=declared.name,
            attributes={
                EXTERNAL_ID: declared.external_id or declared.id,
                **{kind: value for kind, value in ids.items() if value},
            },
            gateway=declared.gateway,
            parent_id=f"{declared.parent}.{number}" if declared.parent else "",
        )


def _questions(source: Source, sample: Sample) -> Iterator[Question]:
    request = sample_request(source, sample)
    for made in canonicalize(source, request):
        if isinstance(made, Canonical):
            yield "", request.device_id, made.identities, made.child


def _asked(question: Question, tenant_id: str, number: int) -> Question:
    _, own, identities, child = question
    return tenant_id, f"{own}.{number}" if own else "", identities, child


def _is_known(view: RegistryView, question: Question, tenant_id: str) -> bool:
    return bool(view.identify(*_asked(question, tenant_id, 0)).device_id)


def _asked_seconds(view: RegistryView, questions: list[Question], tenants: list[str]) -> float:
    identify, spent = view.identify, 0.0
    for number, tenant_id in enumerate(tenants):
        fresh: list[Question] = msgspec.json.decode(
            msgspec.json.encode([_asked(question, tenant_id, number) for question in questions]), type=list[Question]
        )
        started = time.process_time()
        for question in fresh:
            identify(*question)
        spent += time.process_time() - started
    return spent


def _normalized_seconds(source: Source, samples: list[Sample]) -> float:
    """Return what one record costs in the stage without finding its device: from the raw record to what is produced."""
    requests = [sample_request(source, sample) for sample in samples]
    raws = [_Raw(raw_headers(request, source), request.body) for request in requests]
    output, known = cast("Output", _Nowhere()), cast("RegistryView", _OneForAll())
    normalizer = Normalizer(source, Topics("bench."), known, output, DefectLimits())
    count = 0
    started = time.process_time()
    while count < NORMALIZED:
        count += normalizer.take(raws)
    return (time.process_time() - started) / count


class _Raw:
    """A record as the worker gets it from Kafka."""

    topic, partition, offset = "bench.raw", 0, 0

    def __init__(self, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self.headers = headers
        self.value = value


class _OneForAll:
    """Finds a device at no cost."""

    _found = Identified("a device's id is 36 characters long ", "", False)

    def identify(self, *_: object) -> Identified:
        return self._found


class _Nowhere:
    """Takes what is produced and lets it go."""

    def produce(self, *_: object) -> None:
        return None
