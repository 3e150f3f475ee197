"""The spool when things go wrong at the worst moment: nothing acknowledged is lost, nobody waits for ever."""

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fleetline.errors import FleetlineError
from ingress import durable, segments, slots, spool
from ingress.durable import DurableLog
from ingress.errors import NotDurable, TooLarge
from ingress.producer import MemoryProducer
from ingress.segments import ASIDE, SUFFIX, read
from ingress.slots import own_slot
from ingress.spool import Spool
from sources.contract import OnFailure
from tests.ingress.test_spool import HEADERS, append, until, values

ROOM = 100_000_000


def away() -> MemoryProducer:
    producer = MemoryProducer()
    producer.is_available = False
    return producer


async def test_a_segment_that_is_filled_while_its_end_is_read_is_replayed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 200)
    at_the_end, filled = threading.Event(), threading.Event()

    def slow_read(*args: Any) -> Any:
        outcome = read(*args)
        if not outcome[0] and not at_the_end.is_set():
            at_the_end.set()
            assert filled.wait(5)
        return outcome

    monkeypatch.setattr(spool, "read", slow_read)
    producer, one = MemoryProducer(), Spool(tmp_path, ROOM)
    await one.start(producer.append)
    await append(one, 1)
    await until(at_the_end.is_set)
    await one.append("raw.ttn", b"k", b"2" * 300, HEADERS)  # the segment is full with this one, and another will follow
    filled.set()
    await until(lambda: not one.pending)
    assert values(producer) == [1, int(b"2" * 300)]
    await until(lambda: not list(tmp_path.glob("*/0*")))
    await one.stop()


async def test_nothing_is_replayed_before_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, one = MemoryProducer(), Spool(tmp_path, ROOM)
    producer.is_available = False
    await one.start(producer.append)
    await append(one, 1)  # the segment is there, and the replay looks at it all the time
    started, go_on = threading.Event(), threading.Event()

    def failing(_: int) -> None:
        started.set()
        assert go_on.wait(5)
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", failing)
    producer.is_available = True
    pending = asyncio.ensure_future(append(one, 2))
    await until(started.is_set)
    await until(lambda: values(producer) == [1])
    await asyncio.sleep(0.6)
    go_on.set()
    with pytest.raises(NotDurable):
        await pending
    assert not one.is_usable  # the probe says so; the next that is written makes it usable again
    monkeypatch.undo()
    await append(one, 3)
    assert one.is_usable
    await until(lambda: not one.pending)  # type: ignore[unreachable]  # mypy does not see the await change it
    assert (values(producer), one.pending, one.bytes) == ([1, 3], 0, 0)
    await one.stop()


async def test_what_follows_a_write_that_could_not_be_taken_back_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, one = away(), Spool(tmp_path, ROOM)
    await one.start(producer.append)
    await append(one, 1)

    def half(file: Any, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no space left")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(segments, "_write_all", half)
        patched.setattr(os, "ftruncate", broken)
        with pytest.raises(NotDurable):
            await append(one, 2)
    await append(one, 3)
    producer.is_available = True
    await until(lambda: values(producer) == [1, 3])
    await until(lambda: one.bytes == 0 and one.pending == 0)
    await one.stop()


async def test_an_append_that_meets_the_stop_is_answered(tmp_path: Path) -> None:
    producer, one = away(), Spool(tmp_path, ROOM)
    with pytest.raises(NotDurable):
        await append(one, 0)  # before the start
    await one.start(producer.append)
    await append(one, 1)
    taken = [asyncio.ensure_future(append(one, number)) for number in range(2, 40)]
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(one.stop())
    late = []
    while not stopping.done():
        late.append(asyncio.ensure_future(append(one, 1000)))
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*taken, return_exceptions=True)
        refused = await asyncio.gather(*late, return_exceptions=True)
    assert outcomes == [None] * 38
    kept = [int(each.value) for segment in tmp_path.glob(f"*/*{SUFFIX}") for each in read(segment, 0, 10_000)[0]]
    assert set(range(1, 40)) <= set(kept)
    assert kept.count(1000) == sum(1 for outcome in refused if outcome is None)
    assert all(outcome is None or isinstance(outcome, NotDurable) for outcome in refused)


async def test_a_disk_that_hangs_costs_a_503_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "DEADLINE_S", 0.2)
    go_on = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: go_on.wait(5))
    producer = away()
    one = Spool(tmp_path, ROOM)
    go_on.set()
    await one.start(producer.append)
    go_on.clear()
    keep = DurableLog(producer, one, ROOM).appender(OnFailure.DROPS)
    with pytest.raises(NotDurable, match="disk"):
        await keep("raw.ttn", b"k", b"1", HEADERS)
    go_on.set()
    await keep("raw.ttn", b"k", b"2", HEADERS)
    await one.stop()


async def test_what_the_broker_never_takes_does_not_hold_up_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    producer, one = away(), Spool(tmp_path, ROOM)
    too_small = True

    async def deliver(topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        await producer.append(topic, key, value, headers)
        if too_small and value == b"3":
            producer.records.pop()
            raise TooLarge("the record is larger than the broker takes")

    await one.start(deliver)
    await append(one, 1, 2, 3, 4)
    producer.is_available = True
    await until(lambda: not one.pending)
    assert values(producer) == [1, 2, 4]
    assert (one.set_aside, one.replayed) == (1, 3)
    (kept,) = tmp_path.glob(f"*/*{ASIDE}")
    assert "max.message.bytes of raw.ttn" in caplog.text
    await one.stop()

    too_small = False
    kept.rename(kept.with_suffix(SUFFIX))
    heir = Spool(tmp_path, ROOM)
    await heir.start(deliver)
    await until(lambda: values(producer) == [1, 2, 4, 3])
    await heir.stop()


async def test_what_a_process_left_that_never_comes_back_is_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = away()
    living, dead, alive = (Spool(tmp_path, ROOM) for _ in range(3))
    for each in (living, dead, alive):
        await each.start(producer.append)
    await append(dead, 1, 2, 3)
    await append(alive, 4)
    await dead.stop()

    monkeypatch.setattr(spool, "_ADOPT_EVERY_S", 0.0)
    await until(lambda: living.pending == 3)
    await append(living, 5)  # behind what was adopted
    assert alive.pending == 1
    producer.is_available = True
    await until(lambda: not living.pending and not alive.pending)
    assert sorted(values(producer)) == [1, 2, 3, 4, 5]
    assert [number for number in values(producer) if number != 4] == [1, 2, 3, 5]
    await until(lambda: not list(tmp_path.glob(f"*/*{SUFFIX}")))
    await until(lambda: living._adopted is None)  # the slot is free again
    await living.stop()
    await alive.stop()


async def test_a_replay_holds_a_bounded_part_of_the_spool_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, one = away(), Spool(tmp_path, ROOM)
    await one.start(producer.append)
    body = b"x" * 1_000_000
    await asyncio.gather(*[one.append("raw.ttn", b"k", body, HEADERS) for _ in range(40)])  # one batch: one segment
    (segment,) = tmp_path.glob(f"*/*{SUFFIX}")
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 5_000_000)
    assert len(read(segment, 0, 500)[0]) == 5
    producer.is_available = True
    await until(lambda: len(producer.records) == 40)
    await one.stop()


def test_a_spool_that_cannot_be_used_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(FleetlineError, match="FLEETLINE_DATA"):
        own_slot(tmp_path / "spool")
    monkeypatch.setattr(slots, "SLOTS", 1)
    held = own_slot(tmp_path / "other")
    with pytest.raises(FleetlineError, match="more than 1 processes"):
        own_slot(tmp_path / "other")
    held.lock.close()
