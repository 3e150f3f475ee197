"""Waiting until every door lets a new fleet in: credentials travel over the registry topic, within a second."""

import asyncio
import random
import time

from fleetline.errors import FleetlineError
from fleetline.simulator.doors import Urls, open_wire
from fleetline.simulator.fleet import Fleet
from fleetline.simulator.profile import Outgoing, Profile
from fleetline.simulator.road import Drive
from fleetline.simulator.wire import Wire
from schemas.times import now_us

_WITHIN_S = 15.0
_AGAIN_S = 0.1


async def wait_accepted(profiles: tuple[Profile, ...], fleet: Fleet, urls: Urls) -> None:
    """Wait until each door knows its newest credential: the registry is read in order, so it then knows all."""
    deadline = time.monotonic() + _WITHIN_S
    for profile in profiles:
        wire = open_wire(profile.transport, urls[profile.transport])
        try:
            while not await _is_known(wire, _probe(profile, fleet), urls[profile.transport]):
                if time.monotonic() > deadline:
                    raise FleetlineError(
                        f"{urls[profile.transport]} did not learn the new credentials within {_WITHIN_S:.0f} s; is it on "
                        "the Kafka of KAFKA_BOOTSTRAP_SERVERS?"
                    )
                await asyncio.sleep(_AGAIN_S)
        finally:
            wire.close()


def _probe(profile: Profile, fleet: Fleet) -> Outgoing:
    device, chance = fleet.devices[profile.name][-1], random.Random(0)  # noqa: S311  made-up values
    return profile.request(device, [profile.write(device, Drive(chance).at(now_us()), chance)])


async def _is_known(wire: Wire, probe: Outgoing, url: str) -> bool:
    answer = await wire.probe(probe)
    if not answer.status:
        raise FleetlineError(f"nothing answers at {url}: {answer.silence}")
    return answer.status != 401
