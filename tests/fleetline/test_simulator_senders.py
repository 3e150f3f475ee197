"""What each simulated sender does with an answer, against a small server that fails when it is told to."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import httptools
import orjson
import pytest

from fleetline.simulator.accepted import wait_accepted
from fleetline.simulator.account import Account
from fleetline.simulator.catalog import load_profiles
from fleetline.simulator.drive import Load, Simulation
from fleetline.simulator.faults import Fate, Fault, Faults
from fleetline.simulator.fleet import new_fleet
from fleetline.simulator.http_wire import HttpWire
from fleetline.simulator.outbox import Item, Outbox
from fleetline.simulator.profile import Outgoing, Profile, SimDevice
from fleetline.simulator.road import Drive
from fleetline.simulator.transmit import Transmitter
from schemas.times import now_us

pytestmark = pytest.mark.stack

SILENT = 0
"""As a status: take the body and close without an answer."""
HANG = -1


@dataclass
class Seen:
    body: bytes
    headers: dict[str, str]
    complete: bool = True
    query: dict[str, str] = field(default_factory=dict)

    @property
    def items(self) -> list[Any]:
        parsed: Any = orjson.loads(self.body)
        items: list[Any] = parsed.get("Records", [parsed]) if isinstance(parsed, dict) else parsed
        return items


@dataclass
class Server:
    """Answers by `script`, one entry per request, then by `then`."""

    script: list[int] = field(default_factory=list)
    then: int = 200
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    on_request: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = _Request()
        parser = httptools.HttpRequestParser(request)
        while not request.complete:
            data = await reader.read(65_536)
            if not data:
                if request.body:
                    self.seen.append(Seen(request.body, request.headers, complete=False))
                return False
            parser.feed_data(data)
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        body = gzip.decompress(request.body) if "content-encoding" in request.headers else request.body
        self.seen.append(Seen(body, request.headers, query=dict(parse_qsl(request.url.rpartition("?")[2]))))
        status = self.script.pop(0) if self.script else self.then
        self.on_request()
        if status == HANG:
            await asyncio.sleep(30)
        if status <= 0:
            return False
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
        await writer.drain()
        return True


class _Request:
    def __init__(self) -> None:
        self.body = b""
        self.url = ""
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


@asynccontextmanager
async def server(*script: int, then: int = 200) -> AsyncIterator[Server]:
    made = Server(list(script), then)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await made.serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Sender:
    """One device's queue of a simulated sender, playing against a server."""

    profile: Profile
    device: SimDevice
    account: Account
    outbox: Outbox
    chance: random.Random
    drive: Drive
    task: asyncio.Task[None]

    def put(self, count: int) -> None:
        for _ in range(count):
            self.outbox.put(Item(self.device, self.profile.write(self.device, self.drive.at(now_us()), self.chance)))

    async def finish(self) -> None:
        self.outbox.close()
        await asyncio.wait_for(self.task, 20)


@asynccontextmanager
async def sender(source: str, to: Server, *faults: Fault, **changed: Any) -> AsyncIterator[Sender]:
    profile = load_profiles()[source]
    profile = replace(profile, behaviour=replace(profile.behaviour, **changed))
    device = new_fleet((profile,), 1).devices[source][0]
    account, wire, chance = Account(source, source), HttpWire(to.url), random.Random(5)
    transmitter = Transmitter(profile, account, wire, Faults(frozenset(faults), 1.0, chance))
    outbox = Outbox(profile, account, transmitter.post, 0.05)
    task = asyncio.create_task(outbox.run())
    try:
        yield Sender(profile, device, account, outbox, chance, Drive(chance), task)
    finally:
        outbox.abort()
        await asyncio.gather(task, *transmitter.busy, return_exceptions=True)
        wire.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.005)


async def test_autopi_deletes_what_any_2xx_acknowledged_and_sends_it_no_more() -> None:
    async with server(202, 204) as to, sender("autopi", to) as autopi:
        autopi.put(150)
        await autopi.finish()
    assert [len(seen.items) for seen in to.seen] == [100, 50]
    assert len(autopi.account.acknowledged) == 150
    assert autopi.outbox.size == 0


async def test_autopi_gives_a_refused_batch_a_queue_of_its_own_and_goes_on_with_new_data() -> None:
    async with server(503, 400) as to, sender("autopi", to) as autopi:
        autopi.put(3)
        await until(lambda: len(to.seen) == 1)
        autopi.put(2)
        await autopi.finish()
    assert {len(seen.items) for seen in to.seen} == {3, 2}  # the batch again, never mixed with newer data
    assert [seen.body for seen in to.seen].count(to.seen[0].body) >= 2
    assert len(autopi.account.acknowledged) == 5


async def test_autopi_sends_no_new_data_once_ten_retry_queues_wait() -> None:
    async with server(then=400) as to, sender("autopi", to, batch=1, tries=10**6) as autopi:
        autopi.put(30)
        await until(lambda: len(to.seen) > 60)
        assert len({seen.body for seen in to.seen}) == 10
        to.then = 200
        await autopi.finish()
    assert len(autopi.account.acknowledged) == 30


async def test_autopi_moves_a_batch_to_the_fail_queue_after_ten_tries_and_still_sends_it() -> None:
    async with server(*[500] * 12) as to, sender("autopi", to) as autopi:
        autopi.put(1)
        await autopi.finish()
    assert len(to.seen) == 13
    assert len(autopi.account.acknowledged) == 1


async def test_autopi_tops_up_a_batch_that_got_no_answer() -> None:
    async with server(SILENT) as to, sender("autopi", to) as autopi:
        to.on_request = lambda: autopi.put(2) if len(to.seen) == 1 else None
        autopi.put(3)
        await autopi.finish()
    assert [len(seen.items) for seen in to.seen] == [3, 5]
    assert to.seen[1].items[:3] == to.seen[0].items
    assert len(autopi.account.acknowledged) == 5


async def test_autopi_gives_up_waiting_and_sends_again() -> None:
    async with server(HANG) as to, sender("autopi", to, timeout_s=0.2) as autopi:
        autopi.put(2)
        await autopi.finish()
    assert autopi.account.answers["timeout"] == 1
    assert len(autopi.account.acknowledged) == 2


@pytest.mark.parametrize("failure", [201, 204, 400, 503, SILENT])
async def test_flespi_sends_the_same_batch_until_exactly_200_and_nothing_else_meanwhile(failure: int) -> None:
    async with server(failure, failure) as to, sender("flespi", to) as flespi:
        flespi.put(3)
        await until(lambda: len(to.seen) == 1)
        flespi.put(4)
        await flespi.finish()
    assert to.seen[0].body == to.seen[1].body == to.seen[2].body
    assert [len(seen.items) for seen in to.seen] == [3, 3, 3, 4]
    assert to.most_in_flight == 1


@pytest.mark.parametrize("source", ["biketrax", "chirpstack", "ttn", "traccar"])
@pytest.mark.parametrize("failure", [503, SILENT, HANG])
async def test_senders_that_drop_try_once_and_never_again(source: str, failure: int) -> None:
    async with server(failure) as to, sender(source, to, timeout_s=0.3, in_flight=1) as dropping:
        dropping.put(4)
        await dropping.finish()
    assert len(to.seen) == len({seen.body for seen in to.seen}) == 4
    assert dropping.account.dropped == 1
    assert len(dropping.account.acknowledged) == 3


async def test_biketrax_takes_201_for_a_success_and_no_other_2xx() -> None:
    async with server(201, 202) as to, sender("biketrax", to, in_flight=1) as biketrax:
        biketrax.put(2)
        await biketrax.finish()
    assert (len(biketrax.account.acknowledged), biketrax.account.dropped) == (1, 1)


async def test_the_generic_client_tries_three_times() -> None:
    async with server(503, 503, 503, 503, 200) as to, sender("generic", to, in_flight=1) as generic:
        generic.put(2)
        await generic.finish()
    bodies = [seen.body for seen in to.seen]
    assert [bodies.count(body) for body in dict.fromkeys(bodies)] == [3, 2]
    assert (len(generic.account.acknowledged), generic.account.dropped) == (1, 1)


@pytest.mark.parametrize("failure", [202, 500, SILENT])
async def test_digital_matter_keeps_its_records_and_sends_them_with_newer_ones(failure: int) -> None:
    async with server(failure) as to, sender("digital_matter", to) as matter:
        to.on_request = lambda: matter.put(2) if len(to.seen) == 1 else None
        matter.put(3)
        await matter.finish()
    assert [len(seen.items) for seen in to.seen] == [3, 5]
    assert [record["SeqNo"] for record in to.seen[1].items] == [1, 2, 3, 4, 5]
    assert len(matter.account.acknowledged) == 5


async def test_what_is_not_sent_when_the_run_is_stopped_is_held_and_not_lost() -> None:
    async with server(then=503) as to, sender("flespi", to) as flespi:
        flespi.put(7)
        await until(lambda: len(to.seen) >= 1)
        flespi.outbox.abort()
        await asyncio.wait_for(flespi.task, 10)
        assert flespi.outbox.size == 7
    assert not flespi.account.acknowledged


async def test_a_lost_answer_leaves_the_body_sent_whole_and_the_batch_unacknowledged() -> None:
    async with server() as to:
        wire, outgoing = HttpWire(to.url), Outgoing(path="/x", headers={}, body=b"x" * 300_000)
        for fate in (Fate.GONE, Fate.DEAF):
            answer = await wire.exchange(outgoing, 5, fate)
            assert (answer.status, answer.silence) == (0, fate.value)
        await until(lambda: len(to.seen) == 2)
    assert {(len(seen.body), seen.complete) for seen in to.seen} == {(300_000, True)}


async def test_a_disconnect_breaks_off_in_the_middle_of_the_body() -> None:
    async with server() as to:
        wire = HttpWire(to.url)
        answer = await wire.exchange(Outgoing(path="/x", headers={}, body=b"x" * 1000), 5, Fate.CUT)
        await until(lambda: len(to.seen) == 1)
    assert answer.status == 0
    assert (len(to.seen[0].body), to.seen[0].complete) == (500, False)


async def test_a_connection_is_used_again_and_a_gzip_body_is_said_to_be_one() -> None:
    async with server() as to:
        wire = HttpWire(to.url)
        for body in (b"[1]", b"[2]"):
            assert (await wire.exchange(Outgoing(path="/x", headers={}, body=body, gzip=True), 5)).status == 200
        slow = await wire.exchange(Outgoing(path="/x", headers={}, body=b"y" * 500), 5, Fate.SLOW)
        wire.close()
    assert [seen.body for seen in to.seen[:2]] == [b"[1]", b"[2]"]
    assert to.seen[0].headers["content-encoding"] == "gzip"
    assert to.connections == 1
    assert slow.took_s > 0.5


async def test_nobody_listening_is_silence_and_no_error() -> None:
    async with server() as to:
        url = to.url
    assert (await HttpWire(url).exchange(Outgoing(path="/", headers={}), 5)).silence == "ConnectionRefusedError"


async def test_an_acknowledged_batch_is_sent_once_more_under_the_fault_duplicate() -> None:
    async with server() as to, sender("flespi", to, Fault.DUPLICATE) as flespi:
        flespi.put(3)
        await flespi.finish()
        await until(lambda: len(to.seen) == 2)
    assert to.seen[0].body == to.seen[1].body
    assert set(flespi.account.transmissions.values()) == {2}
    assert len(flespi.account.acknowledged) == 3


async def test_the_rate_is_kept_and_every_reading_is_accounted_for() -> None:
    profiles = tuple(each for each in load_profiles().values() if each.transport == "http")
    load = Load(rate=300, duration_s=1.0, longest_pause_s=0.1, drain_s=10, seed=3)
    faults = Faults(frozenset((Fault.REORDER, Fault.LOST_ACK)), 0.2, random.Random(4))
    async with server(*[503] * 20) as to:
        simulation = Simulation(profiles, new_fleet(profiles, 18), {"http": to.url}, load, faults)
        await simulation.run()
    accounts = simulation.accounts.values()
    assert sum(account.made for account in accounts) == 300
    for account in accounts:
        assert account.made == len(account.acknowledged) + account.dropped + account.held
        assert account.held == 0


async def test_an_interrupted_run_ends_at_once_and_keeps_its_account() -> None:
    profiles = (load_profiles()["flespi"], load_profiles()["autopi"])
    load = Load(rate=200, duration_s=60.0, longest_pause_s=5, drain_s=60, seed=3)
    async with server() as to:
        fleet = new_fleet(profiles, 4)
        simulation = Simulation(profiles, fleet, {"http": to.url}, load, Faults(frozenset(), 0, random.Random(1)))
        running = asyncio.create_task(simulation.run())
        await until(lambda: len(to.seen) > 20)
        simulation.interrupt()
        await asyncio.wait_for(running, 5)
    for account in simulation.accounts.values():
        assert account.made == len(account.acknowledged) + account.held


async def test_waiting_for_the_door_shows_every_credential_and_sends_no_reading() -> None:
    profiles = tuple(each for each in load_profiles().values() if each.transport == "http")
    fleet = new_fleet(profiles, 3 * len(profiles))
    async with server(401, 401) as to:
        await wait_accepted(profiles, fleet, {"http": to.url})
    assert len(to.seen) == len(profiles) + 2
    for seen in to.seen:
        assert not seen.body
        assert not {"lat", "fixTime"} & seen.query.keys()
    assert any(seen.query.get("token") for seen in to.seen)  # the one that shows its secret there
