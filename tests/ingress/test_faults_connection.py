"""Senders that mean harm or speak oddly, at the real connection: no 200 without the body, no memory for nothing, no hang."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from ingress import connection
from ingress.connection import Connection, sweep
from tests.ingress.test_connection import SECRET, Front, front, post

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def _the_loop_of_production() -> Iterator[None]:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)


def connections(door: Front) -> list[Any]:
    return list(cast("Any", door.server.server_state.connections))


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_client_that_offers_http_2_keeps_its_body() -> None:
    # Java's client asks so with every first request; the parser throws the body of an upgrade away
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA")
    async with front() as door:
        whole = post(b"one", *offer)
        chunked = post(b"5\r\nthree\r\n0\r\n\r\n", "Transfer-Encoding: chunked", *offer)
        answers = await door.talk(whole + post(b"two"), chunked[:90], chunked[90:], post(b"four"))
        assert answers.count(b"HTTP/1.1 200 OK") == 4
        assert door.bodies == [b"one", b"two", b"three", b"four"]
        assert b" 400 " in await door.talk(b"CONNECT x:443 HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    "framing",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: +4"],
        ["Content-Length : 4"],
        ["Content-Length: 4", " 2"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["X: a\rContent-Length: 4"],
        ["X: a\nContent-Length: 4"],
    ],
)
async def test_a_body_whose_end_can_be_read_in_two_ways_is_refused(framing: list[str]) -> None:
    async with front() as door:
        head = ["POST /in/flespi HTTP/1.1", f"Authorization: Bearer {SECRET}", *framing, "", ""]
        assert b" 400 " in await door.talk("\r\n".join(head).encode() + b"0\r\n\r\n" + post(b"smuggled"))
        assert door.bodies == []


async def test_a_trailer_is_no_header() -> None:
    async with front() as door:
        trailed = f"4\r\nbody\r\n0\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
        assert b" 401 " in await door.talk(post(trailed, "Transfer-Encoding: chunked", secret="wrong"))
        assert door.bodies == []


async def test_endless_trailers_and_chunk_extensions_are_ended() -> None:
    async with front() as door:
        for begin, line in ((b"0\r\n", b"x: " + b"y" * 8000 + b"\r\n"), (b"4;", b"y" * 8000)):
            reader, writer = await asyncio.open_connection(*door.address)
            writer.write(post(begin, "Transfer-Encoding: chunked", secret="wrong"))
            for _ in range(100):
                writer.write(line)
                await asyncio.sleep(0)
            await until(lambda: not connections(door))
            writer.close()
            del reader
        small = b"".join(b"1\r\n%d\r\n" % (number % 10) for number in range(40_000))  # more frame than body, but a body
        assert b" 200 OK" in await door.talk(post(small + b"0\r\n\r\n", "Transfer-Encoding: chunked"))


async def test_who_waits_for_a_100_gets_the_refusal_instead_and_no_doubt_remains() -> None:
    async with front(path_map={"/map/{x}": "flespi"}) as door:
        for path in ("/in/flespi", "/map/y"):
            head = post(b"body", "Expect: 100-continue", secret="wrong", path=path)[:-4]
            answers = await door.talk(head, post(b"next"), pause_s=0.1)  # the next request is not the body of this one
            assert answers.startswith(b"HTTP/1.1 401 ")
            assert answers.count(b"HTTP/1.1 ") == 1
            assert b"connection: close" in answers
            assert b" 100 " not in answers
        assert door.bodies == []


async def test_who_reads_no_answer_gets_no_more_of_our_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async with front() as door:
        reader, writer = await asyncio.open_connection(*door.address, limit=1)
        with pytest.raises(ConnectionError):
            await _flood(door, writer)
        await until(lambda: not connections(door))
        del reader

        # one that takes its answer to the last byte but one is not closed by `close` alone
        _reader, writer = await asyncio.open_connection(*door.address, limit=1)
        monkeypatch.setattr(connection, "CLOSE_LIMIT_S", 0.0)
        (only,) = await _settled(door)
        only.transport.write(b"x" * 20_000_000)
        only.transport.close()
        await asyncio.sleep(0.05)
        assert connections(door) == [only]
        sweep([only])
        await asyncio.sleep(0.01)
        assert sweep([only]) == 1
        await until(lambda: not connections(door))
        writer.close()


async def _flood(door: Front, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(20):
        while True:
            writer.write(b"POST /in/flespi HTTP/1.1\r\n\r\n" * 2_000)
            await writer.drain()
            assert sum(len(each.pipeline) for each in connections(door)) < 20_000


async def _settled(door: Front) -> list[Any]:
    await until(lambda: connections(door))
    return connections(door)


async def test_early_requests_that_had_to_wait_for_us_are_not_called_slow() -> None:
    async with front() as door:
        release = asyncio.Event()
        store = door.producer.append

        async def slow(*args: Any) -> None:
            await release.wait()
            await store(*args)

        cast("Any", door.producer).append = slow
        door_app: Any = door.server.config.loaded_app
        door_app.doors[b"/in/flespi"]._acceptance._durable._producer = door.producer
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(post(b"1") + post(b"2") + post(b"three")[:-3])
        await until(lambda: connections(door) and connections(door)[0].pipeline)
        (only,) = connections(door)
        only._since = time.monotonic() - connection.BODY_LIMIT_S + 1
        release.set()
        await until(lambda: len(door.bodies) == 2)
        assert sweep([only]) == 0
        writer.write(b"ree")
        await until(lambda: door.bodies == [b"1", b"2", b"three"])
        assert (await reader.read(1000)).count(b" 200 OK") == 3
        writer.close()


async def test_a_sender_that_vanishes_before_its_answer_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with front() as door:
        for _ in range(20):
            _, writer = await asyncio.open_connection(*door.address)
            writer.write(post(b"1") * 3 + b"garbage")
            writer.transport.abort()
        await asyncio.sleep(0.1)
        await until(lambda: not connections(door))
        await asyncio.sleep(0.05)
    assert not [each for each in caplog.records if each.levelname in {"ERROR", "CRITICAL"}]


async def test_over_tls_a_sender_that_stops_leaves_no_warning(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    from tests.ingress.test_digital_matter_door import certificate

    chain, key = certificate(tmp_path)
    made = Front()
    made.server.config.ssl_certfile, made.server.config.ssl_keyfile = str(chain), str(key)
    serving = asyncio.create_task(made.server.serve())
    await until(lambda: made.server.started)
    context = ssl.create_default_context(cafile=str(chain))
    reader, writer = await asyncio.open_connection(*made.address, ssl=context, server_hostname="127.0.0.1")
    writer.write(post(b"whole"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    writer.write(post(b"whole")[:-2])
    await asyncio.sleep(0.05)
    writer.close()
    await until(lambda: not connections(made))
    made.server.should_exit = True
    await serving
    assert made.bodies == [b"whole"]
    assert "eof_received" not in caplog.text


PIECES = st.sampled_from(
    [
        b"POST /in/flespi HTTP/1.1\r\n", b"POST /in/flespi?a=%zz HTTP/1.0\r\n", b"GET /healthz HTTP/1.1\r\n", b"\r\n", b"\n",
        b"POST http://x/in/flespi/ HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"CONNECT /in/flespi HTTP/1.1\r\n",
        b"POST /in/biketrax/ HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HEAD /metrics HTTP/1.1\r\n",
        b"Authorization: Bearer wrong\r\n", b"Content-Length: 4\r\n", b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n",
        b"Content-Encoding: gzip\r\n", b"Connection: close\r\n", b"4\r\nbody\r\n", b"0\r\n\r\n", b"body", b"\r\n\r\n",
    ]
)  # fmt: skip
CREDENTIAL = f"Authorization: Bearer {SECRET}\r\n".encode()


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "written after the end"
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, *_: object) -> None:
        return None


@settings(max_examples=300, deadline=None)  # it has a deadline of its own
@given(
    content=st.lists(PIECES | st.binary(max_size=40) | st.just(CREDENTIAL), max_size=14).map(b"".join),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    half_close=st.booleans(),
)
def test_any_bytes_in_any_parts_are_answered_or_ended_and_open_nothing(
    content: bytes, cuts: list[int], half_close: bool
) -> None:
    asyncio.run(_any_bytes(content, sorted(cut for cut in cuts if cut < len(content)), half_close))


_FRONT = Front()


async def _any_bytes(content: bytes, cuts: list[int], half_close: bool) -> None:
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    stored = _FRONT.producer.records
    stored.clear()
    config: uvicorn.Config = _FRONT.server.config
    wire, state = Wire(), ServerState()
    one = Connection(config, state, {})
    one.connection_made(cast("Any", wire))
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        if not wire.closing:
            one.data_received(content[start:end])
        await asyncio.sleep(0)
    if half_close and not wire.closing and not one.eof_received():
        wire.close()
    await asyncio.sleep(0)
    sweep([one])
    one._since -= 1000
    sweep([one])
    one.connection_lost(None)
    async with asyncio.timeout(4):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)
    assert not failures
    assert stored == [] or CREDENTIAL in content
    answers = wire.written.count(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n")
    assert answers <= len(stored)
    assert b"HTTP/1.1 5" not in wire.written.replace(b"HTTP/1.1 503", b"")
