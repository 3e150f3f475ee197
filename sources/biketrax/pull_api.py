"""The part of Traccar's API that the connector speaks: session, socket, devices, positions and events.

Every answer is bounded in size and time, redirects are never followed, and no error quotes an address: the session's
carries the token.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from schemas.times import format_us
from sources.biketrax.pull_account import BikeTraxAccount
from sources.errors import PullStopped

_PING_S = 20.0
_FRAMES_AT_ONCE = 200
_AT_ONCE_S = 1e-6
"""Only what has been received already."""
_REFUSED = frozenset((400, 401))
"""How Traccar's versions answer a token they do not take."""
_FORBIDDEN = frozenset((401, 403))
_CONNECTION_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""ValueError: what aiohttp raises for headers and cookies nobody can read."""


class ApiError(Exception):
    """The server cannot be used for now. `status` 0: no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class TooMuch(ApiError):
    """The answer is larger than is read: ask for less."""


class Socket:
    """An open `/api/socket`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def frames(self, timeout_s: float) -> list[str | bytes]:
        """Wait for a frame and return it with those that came behind it; none when the time is up.

        Many at once, because each batch waits for Kafka. Raises ApiError when the connection ended.
        """
        found: list[str | bytes] = []
        while len(found) < _FRAMES_AT_ONCE:
            try:
                found.append(await self._frame(_AT_ONCE_S if found else timeout_s))
            except TimeoutError:
                break
            except ApiError:
                if not found:  # else the next call says so again
                    raise
                break
        return found

    async def _frame(self, timeout_s: float) -> str | bytes:
        message = await self._socket.receive(timeout_s)
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return message.data  # type: ignore[no-any-return]
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ApiError(f"the connection broke ({type(message.data).__name__})")
        raise ApiError(f"the connection was closed ({self._socket.close_code or 'without a code'})")


class Api:
    """One account's session, made when it is first needed and made anew when the server has forgotten it (BT-a17).

    `beat` is called before each request, none of which takes longer than the account's `timeout_s`.
    """

    def __init__(self, account: BikeTraxAccount, beat: Callable[[], None]) -> None:
        self._account = account
        self._beat = beat
        self._base = f"{account.url}/api"
        self._sessions = 0
        self._logging_in = asyncio.Lock()
        self._rest_headers = {"Accept": "application/json"}  # reports are spreadsheets by default
        if account.email:  # BT-a20
            basic = b64encode(f"{account.email}:{account.password.get_secret_value()}".encode()).decode()
            self._rest_headers["Authorization"] = f"Basic {basic}"
        never = aiohttp.TraceConfig()
        never.on_request_redirect.append(_refuse_redirect)
        self._http = aiohttp.ClientSession(
            trace_configs=[never],  # opening a WebSocket takes no `allow_redirects`
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # hosts without a name have sessions too
            timeout=aiohttp.ClientTimeout(total=account.timeout_s),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._http.close()

    # --- the session -------------------------------------------------------------------------------------------------

    async def _session(self, known: int) -> int:
        """Open a session unless a newer one than `known` is there; return its number. Raises PullStopped, ApiError."""
        async with self._logging_in:
            if self._sessions == known:
                await self._log_in()
                self._sessions += 1
            return self._sessions

    async def _log_in(self) -> None:
        self._beat()
        self._http.cookie_jar.clear()
        account, url = self._account, f"{self._base}/session"
        token = account.token.get_secret_value()
        if token:
            request = self._http.get(url, params={"token": token}, allow_redirects=False)
        else:
            form = {"email": account.email, "password": account.password.get_secret_value()}
            request = self._http.post(url, data=form, allow_redirects=False)
        try:
            async with request as answer:
                status = answer.status
        except _CONNECTION_ERRORS as error:
            raise ApiError(f"no session: {_said(error)}") from None  # its text may hold the token
        if status in (403, 404) and not self._sessions:
            raise PullStopped(
                f"{account.url} has no Traccar API for us (status {status} for /api/session): check BIKETRAX_URL"
            )
        if status in _REFUSED:
            name = "BIKETRAX_TOKEN" if token else "BIKETRAX_EMAIL and BIKETRAX_PASSWORD"
            raise PullStopped(
                f"{account.url} refuses the account (status {status}): {name} is wrong or was revoked. Make a new access"
                " token in the account's settings, set it and start again; what is missed meanwhile is fetched then"
            )
        if status != 200:
            raise ApiError(f"no session: status {status}", status)

    # --- the socket --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """Open the socket with the session's cookie, its only authorization (BT-b07). Raises ApiError, PullStopped."""
        session = self._sessions or await self._session(0)
        try:
            opened = await self._open_socket()
        except ApiError as error:
            if error.status not in _FORBIDDEN:
                raise
            await self._session(session)
            opened = await self._open_socket()
        try:
            yield Socket(opened)
        finally:
            await opened.close()

    async def _open_socket(self) -> aiohttp.ClientWebSocketResponse:
        self._beat()
        try:
            return await self._http.ws_connect(
                f"{self._base}/socket",
                heartbeat=_PING_S,
                max_msg_size=self._account.max_response_bytes,
                compress=0,  # a small compressed frame could be a large one
                timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(f"no socket: status {error.status}", error.status) from None
        except _CONNECTION_ERRORS as error:
            raise ApiError(f"no socket: {_said(error)}") from None

    # --- REST (BT-a19) -----------------------------------------------------------------------------------------------

    async def devices(self) -> list[Any]:
        """List the devices the account may see."""
        return await self._list("devices", [])

    async def positions(self, device_id: int, from_us: int, to_us: int) -> list[Any]:
        """List a device's positions by time of fix. Raises TooMuch when they are too many for one answer."""
        return await self._list("positions", [("deviceId", str(device_id)), *_range(from_us, to_us)])

    async def positions_by_id(self, ids: Iterable[int]) -> list[Any]:
        """List positions by their ids."""
        return await self._list("positions", [("id", str(each)) for each in ids])

    async def events(self, device_ids: Sequence[int], from_us: int, to_us: int) -> list[Any]:
        """List events of all types by their time. Raises TooMuch."""
        named = [("deviceId", str(each)) for each in device_ids]
        return await self._list("reports/events", [*named, *_range(from_us, to_us), ("type", "allEvents")])

    async def _list(self, path: str, query: list[tuple[str, str]]) -> list[Any]:
        session = self._sessions or await self._session(0)
        status, body = await self._get(path, query)
        if status == 401:
            await self._session(session)
            status, body = await self._get(path, query)
        if status != 200:
            raise ApiError(f"/api/{path}: status {status}", status)
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ApiError(f"/api/{path}: the answer is not JSON") from None
        if not isinstance(found, list):
            raise ApiError(f"/api/{path}: the answer is not a list")
        return found

    async def _get(self, path: str, query: list[tuple[str, str]]) -> tuple[int, bytes]:
        self._beat()
        limit = self._account.max_response_bytes
        body = bytearray()
        try:
            async with self._http.get(
                f"{self._base}/{path}", params=query, headers=self._rest_headers, allow_redirects=False
            ) as answer:
                async for chunk in answer.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > limit:
                        raise TooMuch(f"/api/{path}: the answer is larger than {limit} bytes")
                return answer.status, bytes(body)
        except _CONNECTION_ERRORS as error:
            raise ApiError(f"/api/{path}: {_said(error)}") from None


async def _refuse_redirect(_: object, __: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    """Follow nobody anywhere: the session is this server's."""
    redirect.response.close()
    raise ApiError("the server sends us elsewhere: set BIKETRAX_URL to its final address", redirect.response.status)


def _range(from_us: int, to_us: int) -> list[tuple[str, str]]:
    return [("from", _iso(from_us)), ("to", _iso(to_us))]


def _iso(ticks: int) -> str:
    """Print with milliseconds, the finest that Traccar keeps."""
    return f"{format_us(ticks)[:23]}Z"


def _said(error: BaseException) -> str:
    """Name an error without its text, which may quote the address."""
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
