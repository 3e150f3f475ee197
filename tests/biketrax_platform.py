"""A BikeTrax platform on loopback: sessions, the socket, REST and webhooks, with the faults a real one has.

Speaks what `sources.biketrax` relies on of Traccar's API (BT-a17 to BT-a20), strictly: a socket without a session is
refused, a report that is not asked for as JSON is a spreadsheet, an event report must name devices and a range.
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aiohttp
from aiohttp import web

from schemas.times import SECOND_US, format_us, now_us, parse_iso_us

TOKEN = "SDBGAiEA-the-account's-token"
EMAIL, PASSWORD = "fleet@example.com", "correct horse"
COOKIE = "JSESSIONID"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def traccar_time(ticks: int) -> str:
    """Print a time as Traccar does (BT-a05)."""
    return f"{format_us(ticks)[:23]}+00:00"


class Platform:
    """One account's devices, positions and events. Fields and methods may be used at any moment while it runs."""

    def __init__(self, devices: int = 3, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.devices = {number: self._device(number) for number in range(11, 11 + devices)}
        self.positions: dict[int, dict[str, Any]] = {}
        self.events: dict[int, dict[str, Any]] = {}
        self.sessions: set[str] = set()
        self.session_count = 0
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.webhook_url, self.psk = "", ""
        self.on_webhook: Callable[[dict[str, Any]], None] | None = None
        """Takes webhooks instead of `webhook_url`."""
        self.drop_share = 0.0
        self.dropped: list[int] = []
        self.down = False
        self.token_valid = True
        self.failing: dict[str, int] = {}
        """Path -> status it answers with."""
        self.hanging: set[str] = set()
        """Paths that never answer."""
        self.unreadable_position = 0
        """A position whose id makes the whole request fail."""
        self.sockets: set[web.WebSocketResponse] = set()
        self.opened_sockets = 0
        self._http: aiohttp.ClientSession | None = None
        self._site: web.TCPSite | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @staticmethod
    def _device(number: int) -> dict[str, Any]:
        return {
            "id": number, "attributes": {}, "groupId": 0, "name": f"Bike {number}", "uniqueId": f"8612610200{number:05}",
            "status": "offline", "lastUpdate": None, "positionId": 0, "geofenceIds": [], "phone": None, "model": "BikeTrax",
            "category": "bicycle", "disabled": False,
        }  # fmt: skip

    # --- running -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        assert self._http is not None
        await self._http.close()

    async def start(self) -> None:
        """Listen; the second time on the same port."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/api/session", self._get_session)
        app.router.add_post("/api/session", self._post_session)
        app.router.add_get("/api/socket", self._socket)
        app.router.add_get("/api/devices", self._devices)
        app.router.add_get("/api/positions", self._positions)
        app.router.add_get("/api/reports/events", self._events)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Go away, with all connections."""
        await self.close_sockets()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- what happens in the world -----------------------------------------------------------------------------------

    async def move(self, device_id: int, *, fixed_us: int = 0, push: bool = True, **values: Any) -> dict[str, Any]:
        """Make a position, and push it to whoever listens. `fixed_us`: of earlier, kept by the bike until now."""
        number = len(self.positions) + 40_001
        now = now_us()
        fixed = fixed_us or now
        position = {
            "id": number, "attributes": {"batteryLevel": 83.0, "motion": True, "totalDistance": 1000.5 + number},
            "deviceId": device_id, "type": None, "protocol": "biketrax",
            "serverTime": traccar_time(now), "deviceTime": traccar_time(fixed),
            "fixTime": traccar_time(fixed), "outdated": False, "valid": True, "latitude": 48.2 + number * 1e-5,
            "longitude": 16.37, "altitude": 171.0, "speed": 9.7192, "course": 212.0, "address": None, "accuracy": 6.0,
            "network": None, **values,
        }  # fmt: skip
        self.positions[number] = position
        device = self.devices[device_id]
        device.update(status="online", lastUpdate=traccar_time(now))
        if not fixed_us:
            device["positionId"] = number
        if push:
            await self.push({"devices": [device]})
            await self.push({"positions": [position]})
        return position

    async def happen(
        self, device_id: int, kind: str = "alarm", *, position_id: int = 0, at_us: int = 0, push: bool = True
    ) -> dict[str, Any]:
        """Make an event, push it, and post its webhook (or not)."""
        number = len(self.events) + 90_001
        event = {
            "id": number, "attributes": {"alarm": "vibration"} if kind == "alarm" else {}, "deviceId": device_id, "type": kind,
            "serverTime": traccar_time(at_us or now_us()), "positionId": position_id, "geofenceId": 0, "maintenanceId": 0,
        }  # fmt: skip
        self.events[number] = event
        self.devices[device_id]["lastUpdate"] = traccar_time(now_us())
        if push:
            await self.push({"events": [event]})
        if self.webhook_url or self.on_webhook:
            await self._post_webhook(event)
        return event

    async def _post_webhook(self, event: dict[str, Any]) -> None:
        if self.random.random() < self.drop_share:
            self.dropped.append(event["id"])
            return
        body = {"event": event, "device": self.devices[event["deviceId"]]}
        if event["positionId"]:
            body["position"] = self.positions[event["positionId"]]
        if self.on_webhook is not None:
            self.on_webhook(body)
            return
        headers = {"Authorization": self.psk, "X-PowTxn": f"txn-{event['id']}"}
        assert self._http is not None
        async with self._http.post(self.webhook_url, json=body, headers=headers) as answer:
            assert answer.status == 200, answer.status

    async def push(self, frame: dict[str, Any]) -> None:
        """Send a frame to every socket."""
        for socket in list(self.sockets):
            with suppress(ConnectionError, RuntimeError):
                await socket.send_json(frame)

    async def push_text(self, text: str) -> None:
        for socket in list(self.sockets):
            await socket.send_str(text)

    async def close_sockets(self, *, abruptly: bool = False) -> None:
        """End every socket, with or without a close frame."""
        for socket in list(self.sockets):
            self.sockets.discard(socket)
            if abruptly:
                transport = socket._req.transport if socket._req is not None else None
                if transport is not None:
                    transport.abort()
            else:
                with suppress(ConnectionError, RuntimeError, TimeoutError):
                    await asyncio.wait_for(socket.close(), 2)

    def forget_sessions(self) -> None:
        """Let every session expire."""
        self.sessions.clear()

    # --- the API -----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        named: dict[str, Any] = {name: request.query.getall(name) for name in request.query}
        named["accept"] = request.headers.get("Accept", "")
        self.requests.append((request.path, named))
        if self.down:
            return web.Response(status=503)
        if request.path in self.hanging:
            await asyncio.sleep(3600)
        if request.path in self.failing:
            return web.Response(status=self.failing[request.path], headers={"Location": f"{self.url}/elsewhere"})
        if request.path.startswith("/api/") and request.path != "/api/session" and not self._authorized(request):
            return web.Response(status=401)
        return await handler(request)

    def _authorized(self, request: web.Request) -> bool:
        if request.cookies.get(COOKIE) in self.sessions:
            return True
        if request.path == "/api/socket":
            return False  # BT-b07
        expected = "Basic " + base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
        return request.headers.get("Authorization") == expected

    async def _get_session(self, request: web.Request) -> web.Response:
        return self._session(request.query.get("token") == TOKEN and self.token_valid)

    async def _post_session(self, request: web.Request) -> web.Response:
        form = await request.post()
        return self._session((form.get("email"), form.get("password")) == (EMAIL, PASSWORD))

    def _session(self, accepted: bool) -> web.Response:
        if not accepted:
            return web.Response(status=401)
        self.session_count += 1
        name = f"node0-{self.session_count}"
        self.sessions.add(name)
        answer = web.json_response({"id": 5, "email": EMAIL})
        answer.set_cookie(COOKIE, name, path="/", httponly=True)
        return answer

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened_sockets += 1
        await socket.send_json({"positions": self._latest()})  # the snapshot (BT-a18)
        self.sockets.add(socket)
        with suppress(ConnectionError):
            async for _ in socket:
                pass
        self.sockets.discard(socket)
        return socket

    def _latest(self) -> list[dict[str, Any]]:
        numbers = [device["positionId"] for device in self.devices.values()]
        return [self.positions[number] for number in numbers if number]

    async def _devices(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.devices.values()))

    async def _positions(self, request: web.Request) -> web.Response:
        ids = [int(each) for each in request.query.getall("id", [])]
        if ids:
            if self.unreadable_position in ids or any(each not in self.positions for each in ids):
                return web.Response(status=400)
            return web.json_response([self.positions[each] for each in ids])
        if "deviceId" not in request.query:
            return web.json_response(self._latest())
        device_id, first, last = int(request.query["deviceId"]), *self._range(request)
        found = [each for each in self.positions.values() if each["deviceId"] == device_id]
        return web.json_response([each for each in found if first <= parse_iso_us(each["fixTime"]) <= last])

    async def _events(self, request: web.Request) -> web.Response:
        if "json" not in request.headers.get("Accept", ""):
            return web.Response(body=b"PK\x03\x04 a spreadsheet", content_type="application/vnd.ms-excel")
        ids = {int(each) for each in request.query.getall("deviceId", [])}
        if not ids or request.query.getall("type") != ["allEvents"]:
            return web.Response(status=400)
        first, last = self._range(request)
        assert last - first <= 86_400 * SECOND_US, "servers limit the period of a report"
        found = [each for each in self.events.values() if each["deviceId"] in ids]
        return web.json_response([each for each in found if first <= parse_iso_us(each["serverTime"]) <= last])

    @staticmethod
    def _range(request: web.Request) -> tuple[int, int]:
        return parse_iso_us(request.query["from"]), parse_iso_us(request.query["to"])


@asynccontextmanager
async def platform(devices: int = 3, seed: int = 1) -> AsyncIterator[Platform]:
    """Run one."""
    async with Platform(devices, seed) as made:
        yield made
