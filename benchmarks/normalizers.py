"""Each source's normalizer on one core: JSON bytes in, Avro bytes out, over its bundled samples."""

import time
from collections.abc import Callable
from typing import Any

import orjson

from schemas.records import telemetry_writer
from sources.catalog import load_sources
from sources.engine import Canonical, canonicalize
from sources.golden import sample_request
from sources.samples import load_samples

SECONDS = 1.0
ROUNDS = 3


def run() -> dict[str, Any]:
    """Measure every source; `value` is the slowest, `limit` bare orjson.loads and fastavro of the same bodies and records."""
    rates = {name: _source(name) for name in load_sources()}
    slowest = min(rates, key=lambda name: rates[name][0])
    value, limit = rates[slowest]
    return {
        "name": "normalizers",
        "value": value,
        "unit": f"records/s ({slowest})",
        "limit": limit,
        "ratio": value / limit,
        "peers": {name: rate for name, (rate, _) in rates.items()},
    }


def _source(name: str) -> tuple[float, float]:
    source = load_sources()[name]
    write = telemetry_writer()
    samples = [sample_request(source, sample) for sample in load_samples(name).values() if sample.canonical]
    requests = [request for request in samples if not is_binary(request.body)]
    made = {id(request): _records(canonicalize(source, request)) for request in requests}
    count = sum(len(records) for records in made.values())

    def normalize() -> None:
        for request in requests:
            for each in canonicalize(source, request):
                if isinstance(each, Canonical):
                    write(each.record)

    def bare() -> None:
        for request in requests:
            if request.body.lstrip()[:1] in {b"{", b"["}:
                orjson.loads(request.body)
            for record in made[id(request)]:
                write(record)

    return max((_rate(normalize, count), _rate(bare, count)) for _ in range(ROUNDS))


def is_binary(body: bytes) -> bool:
    """Tell Protobuf and CBOR from text: the figure is JSON bytes to Avro bytes."""
    return any(byte < 32 and byte not in b"\t\r\n" for byte in body[:64]) or not body.isascii()


def _records(made: Any) -> list[Any]:
    return [each.record for each in made if isinstance(each, Canonical)]


def _rate(work: Callable[[], None], count: int) -> float:
    done = 0
    started = time.process_time()  # the machine may be shared; a record costs what it costs
    while (spent := time.process_time() - started) < SECONDS:
        for _ in range(50):
            work()
        done += 50 * count
    return done / spent
