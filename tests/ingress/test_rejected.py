"""What a sender that never sends again said while its credential was wrong: kept, bounded, for a day, without the secret."""

import asyncio
import base64
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ingress.errors import TooLarge
from ingress.rejected import LARGEST_BODY, RejectedStore, read_rejected, without_secrets
from sources.catalog import load_source
from sources.contract import Request

EVENT = b'{"event": {"id": 1, "type": "alarm"}}'
DAY_S = 86_400.0


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1_767_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[RejectedStore]:
    made = RejectedStore(tmp_path, max_bytes=100_000, clock=clock)
    made.start()
    yield made
    made.close()


def bodies(directory: Path, source: str = "biketrax") -> list[bytes]:
    return [each.body for each in read_rejected(directory, source)]


def metrics(store: RejectedStore) -> str:
    registry = CollectorRegistry()
    registry.register(store)
    return generate_latest(registry).decode()


def test_a_refused_request_is_kept_as_a_line_that_can_be_sent_again(store: RejectedStore, tmp_path: Path) -> None:
    # BT-a16
    assert store.keep("biketrax", "/in/biketrax", EVENT, {"x-powtxn": "t-1"})
    assert store.flush()
    (only,) = read_rejected(tmp_path, "biketrax")
    assert (only.source, only.method, only.path) == ("biketrax", "POST", "/in/biketrax")
    assert (only.headers, only.body) == ({"x-powtxn": "t-1"}, EVENT)
    assert only.rejected_at == "2025-12-29T09:20:00.000000Z"
    (file,) = (tmp_path / "biketrax").iterdir()
    assert base64.b64decode(orjson.loads(file.read_bytes())["body"]) == EVENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_bytes_of_any_kind_survive(store: RejectedStore, tmp_path: Path) -> None:
    body = bytes(range(256)) + b"\n\r\n"
    store.keep("biketrax", "/in/biketrax", body, {})
    store.keep("biketrax", "/in/biketrax", b"", {})
    assert store.flush()
    assert bodies(tmp_path) == [body, b""]


def test_nothing_is_older_than_a_day(store: RejectedStore, tmp_path: Path, clock: Clock) -> None:  # BT-a16
    store.keep("biketrax", "/", b"old", {})
    assert store.flush()
    clock.now += DAY_S - 3600
    store.keep("biketrax", "/", b"young", {})
    assert store.flush()
    assert bodies(tmp_path) == [b"old", b"young"]
    clock.now += 3600
    assert store.flush()  # without anything new: it is swept all the same
    assert bodies(tmp_path) == [b"young"]


def test_records_of_one_hour_at_most_share_a_file(store: RejectedStore, tmp_path: Path, clock: Clock) -> None:
    for _ in range(4):
        store.keep("biketrax", "/", b"x", {})
        assert store.flush()
        clock.now += 1800
    assert len(list((tmp_path / "biketrax").iterdir())) == 2


def test_what_an_earlier_process_left_is_deleted_in_its_turn(tmp_path: Path, clock: Clock) -> None:
    earlier = RejectedStore(tmp_path, clock=clock)
    earlier.start()
    earlier.keep("biketrax", "/", EVENT, {})
    earlier.close()
    assert bodies(tmp_path) == [EVENT]
    clock.now += DAY_S
    later = RejectedStore(tmp_path, clock=clock)
    later.start()
    assert later.flush()
    later.close()
    assert bodies(tmp_path) == []


def test_it_is_bounded_and_the_newest_stay(store: RejectedStore, tmp_path: Path, clock: Clock) -> None:  # BT-a16
    for number in range(100):
        store.keep("biketrax", "/", b"%04d" % number + b"x" * 4_000, {})
        clock.now += 1
        assert store.flush()
    kept = [int(body[:4]) for body in bodies(tmp_path)]
    assert kept == list(range(kept[0], 100))
    held = sum(path.stat().st_size for path in tmp_path.rglob("*.ndjson"))
    assert 80_000 < held <= 100_000
    assert f'fleetline_ingress_rejected_bytes{{source="biketrax"}} {float(held)}' in metrics(store)


def test_a_stranger_at_one_route_does_not_push_out_what_came_by_another(store: RejectedStore, tmp_path: Path) -> None:
    store.keep("biketrax", "/", EVENT, {})
    for _ in range(100):
        store.keep("traccar", "/", b"x" * 4_000, {})
        assert store.flush()
    assert bodies(tmp_path) == [EVENT]


def test_too_large_bodies_are_counted_only(store: RejectedStore, tmp_path: Path) -> None:
    assert not store.keep("biketrax", "/", b"x" * (LARGEST_BODY + 1), {})
    assert store.flush()
    assert bodies(tmp_path) == []
    assert 'fleetline_ingress_rejected_total{outcome="too_large",source="biketrax"} 1.0' in metrics(store)


def test_the_memory_it_may_take_is_bounded_when_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from ingress import rejected

    gate = threading.Event()
    append = rejected._append

    def slow(path: Path, line: bytes) -> None:
        assert gate.wait(30)
        append(path, line)

    monkeypatch.setattr(rejected, "_append", slow)
    store = RejectedStore(tmp_path)
    store.start()
    taken = [store.keep("biketrax", "/", b"x" * LARGEST_BODY, {}) for _ in range(100)]
    assert 30 <= taken.count(True) <= 65  # 8 MiB wait, and at most as much is being written
    gate.set()
    store.close()
    assert len(bodies(tmp_path)) == taken.count(True)
    assert (
        f'fleetline_ingress_rejected_total{{outcome="too_many",source="biketrax"}} {taken.count(False)}.0'
        in metrics(store)
    )


def test_a_disk_that_fails_costs_nobody_but_the_store(
    store: RejectedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingress import rejected

    def full(path: Path, line: bytes) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(rejected, "_append", full)
        assert store.keep("biketrax", "/", EVENT, {})
        assert store.flush()
    assert 'outcome="not_written",source="biketrax"} 1.0' in metrics(store)
    store.keep("biketrax", "/", EVENT, {})
    assert store.flush()
    assert bodies(tmp_path) == [EVENT]


def test_a_line_torn_by_a_crash_is_passed_over(store: RejectedStore, tmp_path: Path) -> None:
    store.keep("biketrax", "/", EVENT, {})
    assert store.flush()
    (file,) = (tmp_path / "biketrax").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole + b"\xff\n" + whole[:30])
    assert bodies(tmp_path) == [EVENT]


def test_the_first_refusal_warns_and_a_flood_does_not(
    store: RejectedStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:  # BT-a16
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            store.keep("biketrax", "/in/biketrax", EVENT, {})
        store.keep("traccar", "/in/traccar", EVENT, {})
        assert [record.getMessage().split(" is ")[0] for record in caplog.records] == [
            "a sender of biketrax", "a sender of traccar",
        ]  # fmt: skip
        clock.now += 3601
        store.keep("biketrax", "/in/biketrax", EVENT, {})
    assert len(caplog.records) == 3
    assert store.flush()
    assert 'fleetline_ingress_rejected_total{outcome="kept",source="biketrax"} 51.0' in metrics(store)


def test_no_secret_is_among_what_is_kept() -> None:  # BT-a16
    headers = {
        "authorization": "Bearer wrong", "cookie": "wrong", "x-api-key": "wrong", "x-own-key": "wrong",
        "x-powtxn": "t-1", "content-type": "application/json",
    }  # fmt: skip
    path, kept = without_secrets(load_source("biketrax"), Request(path="/in/biketrax", headers=headers))
    assert (path, kept) == ("/in/biketrax", {"x-powtxn": "t-1", "content-type": "application/json"})
    query = {"id": "1", "token": "wrong", "lat": "1"}
    path, kept = without_secrets(load_source("traccar"), Request(path="/in/traccar", query=query, headers=headers))
    assert (path, kept) == ("/in/traccar?id=1&token=redacted&lat=1", {"content-type": "application/json"})
    device = Request(path="/api/v1/{deviceToken}/telemetry", path_params={"deviceToken": "wrong"})
    assert without_secrets(load_source("device"), device) == ("/api/v1/{deviceToken}/telemetry", {})


async def test_a_refused_body_is_rescued(store: RejectedStore, tmp_path: Path) -> None:  # BT-a16
    async def body() -> bytes:
        return EVENT

    request = Request(path="/in/biketrax", headers={"authorization": "wrong", "x-powtxn": "t-9"})
    await store.rescue(load_source("biketrax"), request, body())
    assert await asyncio.to_thread(store.flush)
    (only,) = read_rejected(tmp_path, "biketrax")
    assert (only.body, only.headers["x-powtxn"]) == (EVENT, "t-9")
    assert b"wrong" not in next((tmp_path / "biketrax").iterdir()).read_bytes()


async def test_a_secret_inside_a_refused_body_is_sealed(store: RejectedStore, tmp_path: Path) -> None:
    async def body() -> bytes:
        return b'{"deviceToken": "s3cret", "temperature": 1}'

    await store.rescue(load_source("generic"), Request(path="/in/generic"), body())
    assert await asyncio.to_thread(store.flush)
    (kept,) = bodies(tmp_path, "generic")
    assert b"temperature" in kept
    assert b"s3cret" not in kept


async def test_a_stranger_gets_little_of_our_time(
    store: RejectedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingress import rejected

    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    async def too_large() -> bytes:
        raise TooLarge("over the limit")

    monkeypatch.setattr(rejected, "READ_TIMEOUT_S", 0.01)
    await store.rescue(load_source("biketrax"), Request(), never())
    await store.rescue(load_source("biketrax"), Request(), too_large())
    assert await asyncio.to_thread(store.flush)
    assert bodies(tmp_path) == []
    assert 'outcome="unread",source="biketrax"} 2.0' in metrics(store)


def test_headers_and_paths_of_strangers_count_as_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = RejectedStore(tmp_path)
    monkeypatch.setattr(held, "_thread", object())  # a disk that takes nothing
    kept = [held.keep("biketrax", "/in/biketrax", b"", {"x-powtxn": "y" * 200_000}) for _ in range(100)]
    assert sum(kept) < 50
    assert [held.keep("biketrax", "/" + "z" * 200_000, b"", {}) for _ in range(2)] == [False, False]
