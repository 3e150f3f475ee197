"""Fetches an account's events and positions from BikeTrax: live over the WebSocket, gaps over REST, and all of it compared.

A webhook that fails is never sent again and nobody is told (BT-a08). So three things run here, and each alone would do in
time: the socket brings everything as it happens (BT-a18); a socket that was away is made up for over REST (BT-a19); and
every quarter of an hour the events of the last day are compared with those in the raw topic (BT-a21): a missing one is
fetched, a webhook that never came is counted and logged.

At least once: overlaps are wide and what arrives twice has the same canonical id. See docs/decisions/0006.
"""

import asyncio
import contextlib
import logging
import random
import time

from schemas.times import format_us, now_us
from sources.biketrax.pull_account import BikeTraxAccount, read_account
from sources.biketrax.pull_api import Api, ApiError, Socket
from sources.biketrax.pull_feed import Feed
from sources.biketrax.pull_heal import Healer
from sources.biketrax.pull_state import decode_state
from sources.pulling import PullSession

log = logging.getLogger(__name__)

_STEP_S = 5.0
_STEADY_S = 30.0
"""A connection that lasted so long was a good one: the next pause is short again."""
_FIRST_PAUSE_S = 1.0


def configure() -> BikeTraxAccount:
    """Read the account from the environment. Raises PullStopped."""
    return read_account()


async def run(account: BikeTraxAccount, session: PullSession) -> None:
    """Fetch until cancelled. Raises PullStopped when the account is refused."""
    async with Api(account, session.beat) as api:
        await _Connector(account, session, api).run()


class _Connector:
    def __init__(self, account: BikeTraxAccount, session: PullSession, api: Api) -> None:
        self._account = account
        self._session = session
        self._api = api
        self._news = asyncio.Event()
        """Set when the socket opened or closed: there may be a gap to fill."""

    async def run(self) -> None:
        started = now_us()
        state = decode_state(await self._session.load(), started - self._account.window_us)
        log.info("fetching what %s has since %s", self._account.url, format_us(state.until_us))
        self._feed = Feed(self._api, self._session, state)
        self._healer = Healer(self._account, self._api, self._session, self._feed, until_us=state.until_us)
        await self._healer.hear()  # before the first snapshot: most of it is in the raw topic
        both = [asyncio.create_task(self._listen()), asyncio.create_task(self._tend())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            ended = await asyncio.gather(*both, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _listen(self) -> None:
        """Keep a socket open. Every end of one begins a gap."""
        attempt = 0
        while True:
            opened = time.monotonic()
            try:
                async with self._api.socket() as socket:
                    self._feed.opened()
                    self._news.set()
                    log.info("the socket is open")
                    await self._read(socket)
            except ApiError as error:
                reason = str(error)
            finally:
                self._feed.closed()
                self._news.set()
                self._session.level("connected", 0)
            attempt = 0 if time.monotonic() - opened > _STEADY_S else attempt + 1
            pause = _pause_s(attempt, self._account.retry_max_s)
            log.warning("%s; trying again in %.1f s", reason, pause)
            self._session.count("reconnects")
            await self._sleep(pause)

    async def _read(self, socket: Socket) -> None:
        self._session.level("connected", 1)
        quiet_since = time.monotonic()
        while True:
            frames = await socket.frames(_STEP_S)
            self._session.beat()
            if frames:
                quiet_since = time.monotonic()
                await self._feed.take(frames)
            elif time.monotonic() - quiet_since > self._account.idle_s:
                raise ApiError(f"the socket said nothing for {self._account.idle_s:.0f} s")

    async def _tend(self) -> None:
        """Fill gaps as they come, and compare everything now and then."""
        await self._hear_news(_STEP_S)  # a pass that begins with the socket open leaves no gap behind it
        attempt, due = 0, time.monotonic()
        while True:
            whole = time.monotonic() >= due
            if whole or self._feed.has_gap_behind:
                try:
                    await self._healer.heal(whole=whole)
                except ApiError as error:
                    attempt += 1
                    pause = _pause_s(attempt, self._account.retry_max_s)
                    log.warning("could not fetch what is missing: %s; trying again in %.1f s", error, pause)
                    self._session.count("failed_passes")
                    await self._sleep(pause)
                    continue
                attempt = 0
                if whole:
                    due = time.monotonic() + self._account.reconcile_s
            self._session.beat()
            self._news.clear()
            if not self._feed.has_gap_behind:
                await self._hear_news(max(0.0, min(_STEP_S, due - time.monotonic())))

    async def _hear_news(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._session.beat()
            await asyncio.sleep(min(left, _STEP_S))


def _pause_s(attempt: int, longest_s: float) -> float:
    """Return a pause that doubles with each attempt, with jitter: a server that comes back is not stormed."""
    ceiling = min(longest_s, _FIRST_PAUSE_S * 2.0 ** min(attempt, 20))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards no secret
