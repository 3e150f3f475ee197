"""Devices' WebSockets and clients that mean harm or speak oddly."""

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server
from websockets.exceptions import ConnectionClosed

from fleetline.errors import FleetlineError
from fleetline.listening import tls_context
from fleetline.settings import Settings
from ingress.server import serve
from ingress.websocket_server import UNREAD_BYTES, sweep
from tests.ingress.test_digital_matter_door import certificate
from tests.ingress.test_websocket import TOKEN, House, house

pytestmark = pytest.mark.stack
AUTH = f'{{"type": "auth", "deviceToken": "{TOKEN}"}}'


@pytest.mark.parametrize("frame_id", ["123456789012345678901234567890", '"\\u00e9"', "[" * 300 + "]" * 300, "1.50"])
async def test_an_id_of_any_kind_comes_back_as_it_was_written(frame_id: str) -> None:
    # AC-a15
    async with house() as made, connect(made.url) as client:
        await client.send(AUTH)
        await client.recv()
        await client.send(f'{{"type": "telemetry", "id": {frame_id}, "data": {{"a": 1}}}}')
        await client.send('{"type": "telemetry", "id": 2, "data": {"a": 2}}')
        async with asyncio.timeout(5):
            assert await client.recv() == f'{{"type":"ack","id":{frame_id},"count":1}}'
            assert await client.recv() == '{"type":"ack","id":2,"count":2}'


async def test_a_violation_that_quotes_long_characters_is_closed_with_1008() -> None:
    # AC-a14
    async with house() as made, connect(made.url) as client:
        await client.send(AUTH)
        await client.recv()
        await client.send('{"type": "%s"}' % ("\U0001f600" * 40))
        await client.recv()
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1008


async def test_a_stranger_cannot_make_us_hold_a_large_frame_and_a_device_may_send_one() -> None:
    large = '{"type": "telemetry", "data": {"a": "%s"}}' % ("x" * 1_000_000)
    async with house() as made:
        async with connect(made.url) as stranger:
            await stranger.send(large)
            with pytest.raises(ConnectionClosed):
                await stranger.recv()
            assert stranger.close_code == 1009
        async with connect(made.url) as client:
            await client.send(AUTH)
            await client.recv()
            await client.send(large)
            assert await client.recv() == '{"type":"ack","count":1}'


async def test_who_sends_pings_and_reads_no_pong_is_cut_off() -> None:
    made = House()
    async with await made.door.listen(lambda: True) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.settings.websocket_port, limit=2000)
        key = base64.b64encode(b"0" * 16).decode()
        writer.write(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionError):
            await _flood(server, writer)
        async with connect(made.url) as other:
            sweep(server)
            await other.ping()


async def _flood(server: Server, writer: asyncio.StreamWriter) -> None:
    ping = bytes([0x89, 0x80 | 125]) + b"\0\0\0\0" + b"p" * 125
    async with asyncio.timeout(20):
        while True:
            writer.write(ping * 1000)
            await writer.drain()
            await asyncio.sleep(0)
            sweep(server)  # as the process does every second
            assert all(each.transport.get_write_buffer_size() <= UNREAD_BYTES for each in server.connections)


async def test_the_token_is_in_no_log_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.WARNING)  # the test's own client may say what it likes
    async with house() as made, connect(made.url) as client:
        await client.send(AUTH)
        await client.recv()
        await client.send(AUTH)
        await client.recv()
    assert TOKEN not in caplog.text


def test_a_certificate_that_cannot_be_used_is_said_before_anything_starts(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, other_key = certificate(other)
    sealed = tmp_path / "sealed.pem"
    loaded: Any = serialization.load_pem_private_key(key.read_bytes(), None)
    sealed.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    assert tls_context(Settings()) is None
    assert tls_context(Settings(tls_certificate=chain, tls_key=key)) is not None
    for wrong in (
        {"tls_certificate": tmp_path / "missing.pem", "tls_key": key},
        {"tls_certificate": key, "tls_key": key},
        {"tls_certificate": chain, "tls_key": other_key},
        {"tls_certificate": chain, "tls_key": sealed},  # OpenSSL would ask for the password on a terminal
        {"tls_certificate": chain},
        {"tls_key": key},
    ):
        settings = Settings(**cast("Any", wrong))
        with pytest.raises(FleetlineError, match=r"certificate|CERTIFICATE"):
            serve(settings)
