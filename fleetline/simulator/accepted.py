"""Waiting until the ingress lets a new fleet in: credentials travel over the registry topic, within a second."""

import asyncio
import time

import aiohttp

from fleetline.errors import FleetlineError
from fleetline.simulator.fleet import Fleet
from fleetline.simulator.profile import Outgoing, Profile

_WITHIN_S = 15.0
_PROBE = {"kind": "probe", "event": {}}


async def wait_accepted(profiles: tuple[Profile, ...], fleet: Fleet, url: str) -> None:
    """Wait until the ingress knows the newest credential: the registry is read in order, so it then knows all."""
    last = {profile.source: fleet.devices[profile.source][-1] for profile in profiles}
    deadline = time.monotonic() + _WITHIN_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for profile in profiles:
            probe = profile.request(last[profile.source], [_PROBE])
            while not await _is_known(session, url, probe):
                if time.monotonic() > deadline:
                    raise FleetlineError(
                        f"the ingress at {url} did not learn the new credentials within {_WITHIN_S:.0f} s; is it "
                        "on the Kafka of KAFKA_BOOTSTRAP_SERVERS?"
                    )
                await asyncio.sleep(0.1)


async def _is_known(session: aiohttp.ClientSession, url: str, probe: Outgoing) -> bool:
    """Post an empty body, which makes no record: 401 means that the credential is not known yet."""
    headers = dict(probe.headers)
    try:
        async with session.post(f"{url}{probe.path}", data=b"", headers=headers, allow_redirects=False) as response:
            return response.status != 401
    except (aiohttp.ClientError, TimeoutError) as error:  # its text may hold the path, and that a token
        raise FleetlineError(f"no ingress at {url}: {type(error).__name__}") from None
