"""Puts a sender's requests on the wire, with the faults that strike them, and keeps its account."""

import asyncio

from fleetline.simulator.account import Account
from fleetline.simulator.expected import expected_records
from fleetline.simulator.faults import Fate, Faults
from fleetline.simulator.outbox import Batch
from fleetline.simulator.profile import Profile
from fleetline.simulator.wire import Answer, Wire


class Transmitter:
    """Posts for one sender. `busy` holds the repetitions that are still to come."""

    def __init__(self, profile: Profile, account: Account, wire: Wire, faults: Faults) -> None:
        self._behaviour = profile.behaviour
        self._account = account
        self._wire = wire
        self._faults = faults
        self.busy: set[asyncio.Task[None]] = set()

    async def post(self, batch: Batch) -> Answer:
        """Send a batch once and return what the sender learns of it."""
        if not batch.records:
            batch.records = expected_records(batch.items[0].device, batch.outgoing)
        fate = self._faults.fate()
        if fate is Fate.CUT:
            self._account.cut += 1
        else:
            self._account.sending(batch.records)
        answer = await self._wire.exchange(batch.outgoing, self._behaviour.timeout_s, fate)
        self._account.answered(answer)
        if answer.status in self._behaviour.success:
            self._account.acknowledge(batch.records, answer)
            delay = self._faults.repeats_in_s()
            if delay is not None:
                task = asyncio.create_task(self._repeat(batch, delay))
                self.busy.add(task)
                task.add_done_callback(self.busy.discard)
        return answer

    async def _repeat(self, batch: Batch, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._account.repeats += 1
        self._account.sending(batch.records)
        self._account.answered(await self._wire.exchange(batch.outgoing, self._behaviour.timeout_s))
