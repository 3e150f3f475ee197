"""The Faust worker on the real broker: at least once through every fault, and the same records by id as an undisturbed run."""

import time
from typing import Any

import orjson
import pytest

from fleetline.settings import Settings
from processors.app import FAILED
from registry.model import Destination
from registry.store import RegistryStore
from schemas.records import event_reader, telemetry_reader
from tests.support import TENANT, child, committed, produce, raw, raw_headers, read_all, register, running, until

pytestmark = pytest.mark.stack

DEVICES = 20
GROUP = "processors"


def worker(settings: Settings, name: str = "processors") -> Any:
    return child(settings, name, "-m", "fleetline", "-v", "serve", "processors")


def drained(settings: Settings, *topics: str) -> bool:
    """Tell whether everything in the topics is committed, down to the last record."""
    return all(len(set(committed(settings, settings.topic_prefix + GROUP, topic))) == 1 for topic in topics)


def telemetry_of(settings: Settings) -> list[dict[str, Any]]:
    read = telemetry_reader()
    return [dict(read(record.value())) for record in read_all(settings, settings.topics.telemetry)]


def mileages(settings: Settings) -> dict[bytes, tuple[str, float]]:
    """Return the records by id: the device and the number each message carried."""
    return {
        record["id"]: (record["device_id"], record["numbers"]["vehicle.mileage"]) for record in telemetry_of(settings)
    }


def events_of(settings: Settings) -> list[dict[str, Any]]:
    read = event_reader()
    return [dict(read(record.value())) for record in read_all(settings, settings.topics.events)]


def write(settings: Settings, numbers: range) -> None:
    produce(settings, settings.topics.raw("flespi"), (raw(n, n % DEVICES) for n in numbers))


def expected(count: int) -> set[tuple[str, float]]:
    return {(f"device-{n % DEVICES}", float(n)) for n in range(count)}


def test_a_single_record_at_offset_0_is_committed(topics: Settings) -> None:
    register(topics, 1)
    produce(topics, topics.topics.raw("flespi"), [raw(7, 0)])
    with running(worker(topics)):
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.telemetry), 40)
    assert set(mileages(topics).values()) == {("device-0", 7.0)}


def test_pieces_go_where_they_belong(topics: Settings) -> None:
    register(topics, 1)
    body = orjson.dumps(
        [{"ident": "0", "timestamp": 1_700_000_000}, {"no": "ident"}, {"ident": "999", "timestamp": 1_700_000_001}]
    )
    headers = [*raw_headers(), ("header.x-trace", b"abc")]
    produce(topics, topics.topics.raw("flespi"), [(b"k", body, headers), (b"k", b"\xff not json", headers)])
    produce(topics, topics.topics.telemetry, [(b"device-0", b"foreign", [("detect", b"1")])])
    produce(topics, topics.topics.events, [(b"device-0", b"foreign", [])])
    with running(worker(topics)):
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.events), 40)
        until(lambda: len(read_all(topics, topics.topics.quarantine)) >= 4, 10)
    known = [record for record in read_all(topics, topics.topics.telemetry) if record.value() != b"foreign"]
    assert [record.key() for record in known] == [b"device-0"]
    (unmapped,) = read_all(topics, topics.topics.unmapped)
    assert telemetry_reader()(unmapped.value())["source_device"] == "999"
    kept = {
        dict(record.headers())["quarantine-reason"]: record for record in read_all(topics, topics.topics.quarantine)
    }
    piece = dict(kept[b"no_ident"].headers())
    assert orjson.loads(kept[b"no_ident"].value()) == {"no": "ident"}
    assert (piece["quarantine-index"], piece["origin-offset"], piece["header.x-trace"]) == (b"1", b"0", b"abc")
    assert kept[b"not_json"].value() == b"\xff not json"
    assert kept[b"undecodable_record"].value() == b"foreign"


def test_killed_mid_stream_it_ends_with_the_same_records(topics: Settings) -> None:
    register(topics, DEVICES)
    count = 20_000
    write(topics, range(count))
    for round_number in range(2):
        victim = worker(topics, f"victim-{round_number}")
        victim.start()
        least = (round_number + 1) * 1_000
        until(lambda least=least: len(read_all(topics, topics.topics.telemetry)) > least, 40)  # type: ignore[misc]
        victim.kill()
    with running(worker(topics)):
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.telemetry), 60)
    found = mileages(topics)
    assert len(found) == count
    assert set(found.values()) == expected(count)


def test_a_second_worker_joining_and_leaving_loses_nothing(topics: Settings) -> None:
    register(topics, DEVICES)
    with running(worker(topics, "first")):
        write(topics, range(2_000))
        with running(worker(topics, "second")):
            for start in range(2_000, 10_000, 500):
                write(topics, range(start, start + 500))
                time.sleep(0.3)
            until(lambda: drained(topics, topics.topics.raw("flespi")), 60)
        write(topics, range(10_000, 11_000))
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.telemetry), 60)
    found = mileages(topics)
    assert len(found) == 11_000
    assert set(found.values()) == expected(11_000)


POISONED = """
import processors.normalize as normalize
take = normalize.Normalizer.take
def poisoned(self, records):
    for record in records:
        if b'"vehicle.mileage":1234,' in record.value or b'"vehicle.mileage":1234}' in record.value:
            raise RuntimeError("poison")
    return take(self, records)
normalize.Normalizer.take = poisoned
from fleetline.settings import Settings
from processors.worker import serve
serve(Settings())
"""


def test_a_chunk_that_fails_is_not_committed_and_ends_the_process(topics: Settings) -> None:
    """A plain Faust agent acknowledges the chunk whose body raised: a silent loss."""
    register(topics, DEVICES)
    write(topics, range(1_000))
    failing = child(topics, "failing", "-c", POISONED)
    failing.start()
    try:
        until(lambda: drained(topics, topics.topics.raw("flespi")), 40)
        write(topics, range(1_000, 2_000))
        until(lambda: not failing.is_running, 40, failing.log_tail())
        assert failing.exit_status == FAILED
    finally:
        failing.stop()
    done, end = committed(topics, topics.topic_prefix + GROUP, topics.topics.raw("flespi"))
    assert 1_000 <= done < end == 2_000
    with running(worker(topics)):
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.telemetry), 60)
    assert set(mileages(topics).values()) == expected(2_000)


FORGETFUL = """
import sys
import processors.transport as transport
getmany = transport.ChunkConsumer.getmany
lost = []
async def forgetful(self, timeout):
    async for tp, chunk in getmany(self, timeout):
        if tp.topic.endswith("raw.flespi") and not lost:
            lost.append(chunk.offset)
            print("lost", tp.partition, chunk.value[0].offset, chunk.offset, flush=True)
        else:
            yield tp, chunk
transport.ChunkConsumer.getmany = forgetful
from fleetline.settings import Settings
from processors.worker import serve
serve(Settings())
"""


def test_a_chunk_lost_on_its_way_to_the_agent_is_not_committed_past_and_read_again(topics: Settings) -> None:
    """Faust loses some when partitions change hands, and where nothing was committed yet it does not go back for them."""
    register(topics, DEVICES)
    write(topics, range(1_000))
    with running(child(topics, "forgetful", "-c", FORGETFUL)) as process:
        until(lambda: "lost" in process.log_tail(50), 40)
        write(topics, range(1_000, 2_000))
        until(lambda: drained(topics, topics.topics.raw("flespi"), topics.topics.telemetry), 60)
    assert set(mileages(topics).values()) == expected(2_000)


def test_ignition_events_are_made_once_and_routed(topics: Settings) -> None:
    register(topics, 2)
    destination = Destination(
        id="d1", tenant_id=TENANT, kind="webhook", url="https://example.com", types=("ignitionOn",)
    )
    foreign = Destination(id="d2", tenant_id="somebody else", kind="webhook", url="https://example.com")
    with RegistryStore(topics) as store:
        store.put([destination, foreign])
    states = [False, False, True, True, False, True]
    raw_topic = topics.topics.raw("flespi")
    produce(topics, raw_topic, (raw(n, device, is_on) for n, is_on in enumerate(states) for device in (0, 1)))
    with running(worker(topics)):
        until(lambda: drained(topics, raw_topic, topics.topics.telemetry, topics.topics.events), 60)
    with running(worker(topics, "again")):  # a restart with its state from the changelog repeats nothing
        produce(topics, raw_topic, (raw(10 + n, device, True) for n in range(3) for device in (0, 1)))
        produce(topics, raw_topic, (raw(3, device, False) for device in (0, 1)))  # late: changes nothing
        until(lambda: drained(topics, raw_topic, topics.topics.telemetry, topics.topics.events), 60)
    events = events_of(topics)
    by_device = {device: [e["type"] for e in events if e["device_id"] == device] for device in ("device-0", "device-1")}
    assert all(types == ["ignitionOn", "ignitionOff", "ignitionOn"] for types in by_device.values()), by_device
    assert len({event["id"] for event in events}) == len(events)
    tasks = [orjson.loads(record.value()) for record in read_all(topics, topics.topics.deliveries)]
    assert [task["destination_id"] for task in tasks] == ["d1"] * 4
    assert {task["event"]["type"] for task in tasks} == {"ignitionOn"}
    assert len({task["id"] for task in tasks}) == 4
