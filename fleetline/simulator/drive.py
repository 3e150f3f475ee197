"""Drives the fleet: makes readings at the wanted rate, lets every sender send, and lets them empty their buffers."""

import asyncio
import heapq
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetline.simulator.account import Account
from fleetline.simulator.doors import Urls, open_wire
from fleetline.simulator.faults import Faults
from fleetline.simulator.fleet import Fleet
from fleetline.simulator.outbox import Item, Outbox
from fleetline.simulator.profile import Profile, SimDevice
from fleetline.simulator.road import Drive
from fleetline.simulator.transmit import Transmitter
from schemas.times import now_us

_TICK_S = 0.01
NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is sent, and how."""

    rate: float
    """Readings per second in all."""
    duration_s: float
    longest_pause_s: float
    """Pauses of senders are cut to this, so that a short run sees what takes hours outside."""
    drain_s: float
    """How long senders may take to empty their buffers at the end."""
    seed: int


class Simulation:
    """One run against one installation. `accounts` may be read at any time; setting `stopped` ends the sending early."""

    def __init__(self, profiles: Sequence[Profile], fleet: Fleet, urls: Urls, load: Load, faults: Faults) -> None:
        self._load = load
        self._faults = faults
        self._chance = random.Random(load.seed)  # noqa: S311  made-up values
        transports = sorted({profile.transport for profile in profiles})
        self._wires = {transport: open_wire(transport, urls[transport]) for transport in transports}
        self.accounts: Mapping[str, Account] = {
            profile.name: Account(profile.name, profile.source) for profile in profiles
        }
        self.stopped = asyncio.Event()
        self.was_interrupted = False
        self._transmitters: list[Transmitter] = []
        self._outboxes: list[Outbox] = []
        self._players: list[_Player] = []
        self._held_back: list[tuple[float, int, Outbox, Item]] = []
        for profile in profiles:
            self._add(profile, fleet.devices[profile.name])

    def _add(self, profile: Profile, devices: Sequence[SimDevice]) -> None:
        account = self.accounts[profile.name]
        transmitter = Transmitter(profile, account, self._wires[profile.transport], self._faults)
        self._transmitters.append(transmitter)
        shared: Outbox | None = None
        for device in devices:
            if shared is None or not profile.behaviour.one_stream:
                shared = Outbox(profile, account, transmitter.post, self._load.longest_pause_s)
                self._outboxes.append(shared)
            chance = random.Random(f"{self._load.seed}:{device.source}:{device.number}")  # noqa: S311
            self._players.append(_Player(profile, device, shared, Drive(chance), chance))
        self._players.sort(key=lambda player: player.device.number)

    def interrupt(self) -> None:
        """Stop early, because a person wants it."""
        self.was_interrupted = True
        self.stop()

    def stop(self) -> None:
        """End the sending: make nothing more, let what is on the way be answered, keep the rest."""
        self.stopped.set()
        for outbox in self._outboxes:
            outbox.abort()

    async def run(self) -> None:
        """Send for the time wanted, then until every buffer is empty or `drain_s` have gone by.

        Raises FleetlineError when a profile writes what its source does not understand.
        """
        tasks = [asyncio.create_task(outbox.run()) for outbox in self._outboxes]
        tasks.append(asyncio.create_task(self._make_readings()))
        try:
            patience_s = self._load.duration_s + self._load.drain_s
            await asyncio.wait(tasks, timeout=patience_s, return_when=asyncio.FIRST_EXCEPTION)
            self.stop()
            await asyncio.gather(*tasks)
            for transmitter in self._transmitters:
                await asyncio.gather(*transmitter.busy)
        finally:
            for task in tasks:
                task.cancel()
            for wire in self._wires.values():
                wire.close()
        for outbox in self._outboxes:
            self.accounts[outbox.sender].held += outbox.size

    async def _make_readings(self) -> None:
        """Make readings, the devices in turn, as many as are due by the clock."""
        started = time.monotonic()
        made = 0
        while not self.stopped.is_set():
            elapsed = time.monotonic() - started
            due = int(min(elapsed, self._load.duration_s) * self._load.rate)
            for _ in range(due - made):
                self._make_one(made)
                made += 1
            self._release(time.monotonic())
            if elapsed >= self._load.duration_s:
                break
            await asyncio.sleep(_TICK_S)
        self._release(NEVER)
        for outbox in self._outboxes:
            outbox.close()

    def _make_one(self, count: int) -> None:
        player = self._players[count % len(self._players)]
        moment = player.drive.at(now_us())
        item = Item(player.device, player.profile.write(player.device, moment, player.chance))
        self.accounts[player.profile.name].made += 1
        held_back = self._faults.held_back_s()
        if held_back is None:
            player.outbox.put(item)
        else:
            heapq.heappush(self._held_back, (time.monotonic() + held_back, count, player.outbox, item))

    def _release(self, now: float) -> None:
        while self._held_back and self._held_back[0][0] <= now:
            _, _, outbox, item = heapq.heappop(self._held_back)
            outbox.put(item)


@dataclass(frozen=True, slots=True)
class _Player:
    profile: Profile
    device: SimDevice
    outbox: Outbox
    drive: Drive
    chance: random.Random
