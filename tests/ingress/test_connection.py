"""The real HTTP connection: slow and oversized senders, half-closed ones, pipelining, and the way past Starlette."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvicorn

from fleetline.settings import Settings
from ingress import connection
from ingress.app import build_app
from ingress.connection import Connection, sweep
from ingress.producer import MemoryProducer
from registry.model import Credential, Tenant
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from sources.catalog import load_sources

pytestmark = pytest.mark.stack
SECRET = new_secret()


class Front:
    """An ingress on a real socket, storing into memory."""

    def __init__(self, **settings: Any) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        for entry in (
            Tenant(id="t", name="T"),
            Credential(id="c", tenant_id="t", source="flespi", digest=digest(SECRET)),
        ):
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))
        app: Any = build_app(Settings(**settings), load_sources(), self, self.producer)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, http=Connection, ws="none", lifespan="on", log_config=None,
            proxy_headers=False, server_header=False, date_header=False,
        )  # fmt: skip
        self.server = uvicorn.Server(config)

    @property
    def bodies(self) -> list[bytes]:
        return [record[2] for record in self.producer.records]

    async def talk(self, *parts: bytes, close_half: bool = False, pause_s: float = 0.01) -> bytes:
        """Send the parts one after the other, and return all that comes back until the server closes or is quiet."""
        reader, writer = await asyncio.open_connection(*self.address)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if close_half:
            writer.write_eof()
        answers = b""
        try:
            while part := await asyncio.wait_for(reader.read(65_536), 5 if close_half else 0.5):
                answers += part
        except TimeoutError:
            assert not close_half, "the server keeps a connection that its sender has closed"
        writer.close()
        return answers

    @property
    def address(self) -> tuple[str, int]:
        name: tuple[str, int] = self.server.servers[0].sockets[0].getsockname()
        return name


@asynccontextmanager
async def front(**settings: Any) -> AsyncIterator[Front]:
    made = Front(**settings)
    serving = asyncio.create_task(made.server.serve())
    while not made.server.started:
        await asyncio.sleep(0.01)
    try:
        yield made
    finally:
        made.server.should_exit = True
        await serving


def post(body: bytes, *lines: str, path: str = "/in/flespi", secret: str = SECRET, version: str = "1.1") -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: x", f"Authorization: Bearer {secret}", *lines]
    if not any(line.lower().startswith("transfer-encoding") for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode() + body


async def test_a_request_is_answered_200_with_an_empty_body_and_the_connection_stays() -> None:
    # FL-a03, DM-a02, BT-a06, AP-a16
    async with front() as door:
        reader, writer = await asyncio.open_connection(*door.address)
        for number in range(3):
            writer.write(post(b"%d" % number))
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        writer.close()
        assert door.bodies == [b"0", b"1", b"2"]


async def test_the_short_way_and_starlettes_answer_alike() -> None:
    async with front(path_map={"/map/{x}": "flespi"}) as door:
        for path in ("/in/flespi", "/in/flespi/", "/in/flespi?a=b", "/map/y", "/map/y/", "http://x/in/flespi"):
            assert (await door.talk(post(b"1", "Connection: close", path=path))).startswith(b"HTTP/1.1 200 OK\r\n"), (
                path
            )
        for path in ("/in/flespi", "/map/y"):
            refused = await door.talk(post(b"1", "Connection: close", path=path, secret="wrong"))
            assert refused.startswith(b"HTTP/1.1 401 ")
            assert refused.endswith(b"\r\n\r\n")
            wrong = await door.talk(post(b"1", "Connection: close", path=path).replace(b"POST", b"PUT", 1))
            assert wrong.startswith(b"HTTP/1.1 405 ")
            assert b"allow: POST" in wrong
        assert len(door.bodies) == 6


async def test_bodies_come_in_parts_in_chunks_and_after_a_100() -> None:
    async with front() as door:
        whole = post(b"0123456789")
        assert b" 200 OK" in await door.talk(*[whole[start : start + 7] for start in range(0, len(whole), 7)])
        chunked = post(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
        assert b" 200 OK" in await door.talk(chunked)
        expecting = post(b"body", "Expect: 100-continue")
        answers = await door.talk(expecting[:-4], expecting[-4:], pause_s=0.05)
        assert answers == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        assert door.bodies == [b"0123456789", b"abcde", b"body"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with front() as door:
        answers = await door.talk(
            post(b"1") + post(b"2", secret="wrong") + post(b"3") + b"GET /healthz HTTP/1.1\r\n\r\n"
        )
        assert [line.split()[1] for line in answers.splitlines() if line.startswith(b"HTTP/")] == [
            b"200", b"401", b"200", b"200",
        ]  # fmt: skip
        assert door.bodies == [b"1", b"3"]


async def test_http_1_0_is_answered_and_closed() -> None:
    async with front() as door:
        assert b"connection: close" in await door.talk(post(b"1", version="1.0"))


async def test_a_body_over_the_limit_is_413_announced_or_not_and_nothing_is_stored() -> None:
    # AP-a18, FL-a15
    async with front(max_body_bytes=1000) as door:
        assert b" 413 " in await door.talk(post(b"x" * 1001))
        chunk = b"258\r\n" + b"x" * 600 + b"\r\n"
        assert b" 413 " in await door.talk(post(chunk * 3 + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
        assert b" 200 " in await door.talk(post(b"x" * 1000))
        assert len(door.bodies) == 1


async def test_a_sender_that_half_closes_gets_its_answer_and_a_short_body_is_400() -> None:
    async with front() as door:
        assert b" 200 OK" in await door.talk(post(b"body"), close_half=True)
        assert b" 400 " in await door.talk(post(b"whole")[:-2], close_half=True)
        assert door.bodies == [b"body"]


async def test_endless_headers_are_431() -> None:
    async with front() as door:
        line = b"x-filler: " + b"y" * 8000 + b"\r\n"
        assert b" 431 " in await door.talk(b"POST /in/flespi HTTP/1.1\r\n", *[line] * 10)


async def test_slow_headers_and_bodies_are_ended_with_408_and_idle_connections_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with front() as door:

        async def overdue(sent: bytes, limit: str) -> bytes:
            reader, writer = await asyncio.open_connection(*door.address)
            writer.write(sent)
            connections: Any = door.server.server_state.connections
            while not connections or all(each._since > time.monotonic() - 0.05 for each in connections):
                await asyncio.sleep(0.01)
            assert sweep(connections) == 0
            monkeypatch.setattr(connection, limit, 0.0)
            assert sweep(connections) == 1
            monkeypatch.undo()
            answer = await asyncio.wait_for(reader.read(-1), 5)
            writer.close()
            await asyncio.sleep(0.02)
            return answer

        assert (await overdue(b"POST /in/fl", "HEAD_LIMIT_S")).startswith(b"HTTP/1.1 408 ")
        assert (await overdue(post(b"whole")[:-1], "BODY_LIMIT_S")).startswith(b"HTTP/1.1 408 ")
        assert await overdue(b"", "IDLE_LIMIT_S") == b""
        assert (await overdue(post(b"whole"), "IDLE_LIMIT_S")).startswith(b"HTTP/1.1 200 ")
        assert door.bodies == [b"whole"]


async def test_http_can_be_switched_off_for_a_source() -> None:
    # AP-a28
    async with front(https_only={"flespi"}) as door:
        answer = await door.talk(post(b"1", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"use https" in answer
        assert door.bodies == []


async def test_a_hundred_connections_of_one_address_are_served() -> None:
    # DM-a20
    async with front() as door:
        answers = await asyncio.gather(*[door.talk(post(b"%d" % number, "Connection: close")) for number in range(120)])
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert len(door.bodies) == 120
