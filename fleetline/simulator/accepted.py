"""Waiting until every door lets a new fleet in: credentials travel over the registry topic, within a second."""

import asyncio
import random
import time
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from fleetline.errors import FleetlineError
from fleetline.simulator.doors import Urls, open_wire
from fleetline.simulator.fleet import Fleet
from fleetline.simulator.profile import Outgoing, Profile
from fleetline.simulator.road import Drive
from fleetline.simulator.wire import Wire
from schemas.times import now_us
from sources.catalog import load_source

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
    """Make a message of the newest device's; of its query, which may hold a whole reading, only what opens the door stays."""
    device, chance = fleet.devices[profile.name][-1], random.Random(0)  # noqa: S311  made-up values
    made = profile.request(device, [profile.write(device, Drive(chance).at(now_us()), chance)])
    source = load_source(profile.source)
    opens = [(key, value) for key, value in parse_qsl(made.query) if key in {*source.secret_query, source.tenant_query}]
    return replace(made, query=urlencode(opens))


async def _is_known(wire: Wire, probe: Outgoing, url: str) -> bool:
    answer = await wire.probe(probe)
    if not answer.status:
        raise FleetlineError(f"nothing answers at {url}: {answer.silence}")
    return answer.status != 401
