"""The spool: on disk before the answer, replayed in order, bounded, and alive after a crash."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress import segments
from ingress.durable import DurableLog
from ingress.errors import NotDurable
from ingress.producer import MemoryProducer
from ingress.segments import TORN, SegmentWriter, Spooled, frame, read
from ingress.spool import Spool
from sources.contract import OnFailure

HEADERS = [("id", b"1")]


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def append(spool: Spool, *numbers: int) -> None:
    await asyncio.gather(*[spool.append("raw.ttn", b"k", b"%d" % number, HEADERS) for number in numbers])


def values(producer: MemoryProducer) -> list[int]:
    return [int(value) for _, _, value, _ in producer.records]


async def test_while_the_broker_is_away_droppers_are_spooled_and_resenders_refused(tmp_path: Path) -> None:
    # BT-a08, AC-a37, FL-a24
    producer, spool = MemoryProducer(), Spool(tmp_path, 10_000_000)
    producer.is_available = False
    durable = DurableLog(producer, spool, 1_000_000)
    await spool.start(producer.append)
    with pytest.raises(NotDurable):
        await durable.appender(OnFailure.RESENDS)("raw.flespi", b"k", b"1", [])
    for number in range(20):
        await durable.appender(OnFailure.DROPS)("raw.ttn", b"k", b"%d" % number, HEADERS)
    assert (spool.pending, producer.records) == (20, [])

    producer.is_available = True
    await durable.appender(OnFailure.DROPS)("raw.ttn", b"k", b"20", HEADERS)  # queues behind the spooled ones
    await until(lambda: not spool.pending)
    assert values(producer) == list(range(21))
    await durable.appender(OnFailure.DROPS)("raw.ttn", b"k", b"21", HEADERS)
    assert values(producer)[-1] == 21
    assert spool.spooled == 21
    await spool.stop()


async def test_a_dead_process_leaves_what_it_acknowledged_to_the_next(tmp_path: Path) -> None:
    producer, dead = MemoryProducer(), Spool(tmp_path, 10_000_000)
    producer.is_available = False
    await dead.start(producer.append)
    await append(dead, *range(50))
    await dead.stop()  # leaves the files exactly as a crash after the last acknowledgement does

    producer.is_available = True
    heir = Spool(tmp_path, 10_000_000)
    await heir.start(producer.append)
    assert heir.pending == 50
    await append(heir, 50)
    await until(lambda: not heir.pending)
    assert values(producer) == list(range(51))
    assert producer.records[0] == ("raw.ttn", b"k", b"0", HEADERS)
    await until(lambda: heir.bytes == 0)
    assert not list(tmp_path.glob("**/*.spool"))
    await heir.stop()


async def test_a_record_is_on_disk_when_its_append_returns(tmp_path: Path) -> None:
    producer, spool = MemoryProducer(), Spool(tmp_path, 10_000_000)
    producer.is_available = False
    await spool.start(producer.append)
    await append(spool, 7)
    (segment,) = tmp_path.glob("**/*.spool")
    assert read(segment, 0, 10)[0] == [Spooled("raw.ttn", b"k", HEADERS, b"7")]
    await spool.stop()


async def test_a_broker_that_fails_in_the_middle_of_a_replay_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    taken: list[int] = []

    async def flaky(_: str, __: bytes, value: bytes, ___: object) -> None:
        await asyncio.sleep(0)
        if len(taken) in {5, 13, 40}:
            taken.append(-1)
            raise NotDurable("away")
        taken.append(int(value))

    spool = Spool(tmp_path, 10_000_000)
    await spool.start(flaky)
    await append(spool, *range(30))
    await until(lambda: not spool.pending)
    first_seen = list(dict.fromkeys(number for number in taken if number >= 0))
    assert sorted(first_seen) == list(range(30))
    await spool.stop()


async def test_a_full_spool_refuses_and_says_so(tmp_path: Path) -> None:
    producer, spool = MemoryProducer(), Spool(tmp_path, 500)
    producer.is_available = False
    await spool.start(producer.append)
    await spool.append("raw.ttn", b"k", b"x" * 300, HEADERS)
    with pytest.raises(NotDurable, match="full"):
        await spool.append("raw.ttn", b"k", b"x" * 300, HEADERS)
    assert spool.refused == 1
    assert spool.is_usable
    await spool.stop()


async def test_a_failing_disk_acknowledges_nothing_and_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, spool = MemoryProducer(), Spool(tmp_path, 10_000_000)
    producer.is_available = False
    await spool.start(producer.append)
    await append(spool, 1)

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(NotDurable, match="cannot be written"):
            await append(spool, 2)
    await append(spool, 3)
    producer.is_available = True
    await until(lambda: not spool.pending)
    assert values(producer) == [1, 3]
    await spool.stop()


async def test_two_processes_take_different_slots(tmp_path: Path) -> None:
    producer, one, other = MemoryProducer(), Spool(tmp_path, 10_000), Spool(tmp_path, 10_000)
    producer.is_available = False
    await one.start(producer.append)
    await other.start(producer.append)
    await append(one, 1)
    await append(other, 2)
    assert len(list(tmp_path.glob("*/*.spool"))) == 2
    await one.stop()
    await other.stop()


async def test_segments_change_over_while_the_replay_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 200)
    producer, spool = MemoryProducer(), Spool(tmp_path, 10_000_000)
    await spool.start(producer.append)
    for number in range(300):
        await append(spool, number)
    await until(lambda: not spool.pending)
    assert values(producer) == list(range(300))
    await spool.stop()


async def test_a_damaged_segment_is_kept_and_the_rest_replayed(tmp_path: Path) -> None:
    slot = tmp_path / "00"
    slot.mkdir()
    good = [frame(Spooled("raw.ttn", b"k", [], b"%d" % number)) for number in range(4)]
    (slot / "0000000001.spool").write_bytes(good[0] + b"\xff" + good[1][1:] + good[2])
    (slot / "0000000002.spool").write_bytes(good[3] + good[0][:-1])
    producer, spool = MemoryProducer(), Spool(tmp_path, 10_000_000)
    await spool.start(producer.append)
    await until(lambda: len(values(producer)) == 2 and len(list(slot.glob(f"*{TORN}"))) == 2)
    assert values(producer) == [0, 3]
    await spool.stop()


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    segment = tmp_path_factory.getbasetemp() / "any.spool"
    segment.write_bytes(frame(Spooled("t", b"", [], b"v")) + content)
    records, position = read(segment, 0, 100)
    assert records[0].value == b"v"
    assert position <= segment.stat().st_size


def test_a_writer_begins_a_new_segment_when_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 10)
    writer = SegmentWriter(tmp_path, 4)
    assert [writer.append(b"0123456789").name, writer.append(b"x").name] == ["0000000005.spool", "0000000006.spool"]
    writer.close()


async def test_under_pressure_resenders_are_shed_before_droppers(tmp_path: Path) -> None:
    # AC-a37
    release = asyncio.Event()

    class Slow(MemoryProducer):
        async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
            await release.wait()
            await super().append(topic, key, value, headers)

    producer = Slow()
    durable = DurableLog(producer, None, 40 * 1024)
    resend, drop = durable.appender(OnFailure.RESENDS), durable.appender(OnFailure.DROPS)
    waiting = [asyncio.ensure_future(resend("t", b"k", b"", [])) for _ in range(21)]
    await asyncio.sleep(0)
    with pytest.raises(NotDurable, match="too many"):
        await resend("t", b"k", b"", [])
    waiting += [asyncio.ensure_future(drop("t", b"k", b"", [])) for _ in range(19)]
    await asyncio.sleep(0)
    with pytest.raises(NotDurable, match="too many"):
        await drop("t", b"k", b"", [])
    release.set()
    await asyncio.gather(*waiting)
    assert durable.shed == {OnFailure.RESENDS: 1, OnFailure.DROPS: 1}
    assert durable.in_flight_bytes == 0
