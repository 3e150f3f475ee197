"""One run against a stack that is up: register, send, wait, reconcile, report."""

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fleetline.local.stack import Stack
from fleetline.settings import Settings
from fleetline.simulator.accepted import wait_accepted
from fleetline.simulator.broker import keep_running, restart_broker
from fleetline.simulator.doors import Urls
from fleetline.simulator.drive import Simulation
from fleetline.simulator.faults import Fault, Faults
from fleetline.simulator.fleet import Fleet
from fleetline.simulator.options import Options
from fleetline.simulator.profile import Profile
from fleetline.simulator.reconcile import Verdict, hold_merges, reconcile_all
from fleetline.simulator.report import show_account
from fleetline.simulator.settled import Road, Settling
from registry.store import RegistryStore
from schemas.times import now_us
from sinks.clickhouse.connection import connect

_CLOCKS_DIFFER_US = 3_600_000_000
_SHOWN_EVERY_S = 0.2
_MERGES_HELD_S = 120.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FAULT = "fault"


class Run:
    """The part between a stack that is up and one that goes down."""

    def __init__(
        self,
        options: Options,
        profiles: tuple[Profile, ...],
        settings: Settings,
        urls: Urls,
        console: Console,
        stack: Stack | None,
    ) -> None:
        self._options = options
        self._profiles = profiles
        self._settings = settings
        self._urls = urls
        self._console = console
        self._stack = stack

    async def run(self, fleet: Fleet, *, register: bool) -> bool:
        """Register the fleet if wanted, send, wait until all has arrived, report. Returns whether the account closes."""
        if register:
            await asyncio.to_thread(_register, self._settings, fleet)
            await wait_accepted(self._profiles, fleet, self._urls)
        client = await asyncio.to_thread(connect, self._settings)
        if self._stack is not None and self._options.load.duration_s <= _MERGES_HELD_S:
            await asyncio.to_thread(hold_merges, client)
        road = Road(self._settings, tuple({profile.source for profile in self._profiles})) if register else None
        chance = random.Random(self._options.load.seed + 1)  # noqa: S311  which requests are struck
        faults = Faults(self._options.faults, self._options.fault_share, chance)
        simulation = Simulation(self._profiles, fleet, self._urls, self._options.load, faults)
        since_us = 0 if fleet.own_tenant else now_us() - _CLOCKS_DIFFER_US
        settling = Settling(client, fleet.tenant_id, since_us, simulation.accounts, road)
        watching = self._begin_faults(simulation)
        try:
            with _interrupting(simulation), self._bar() as bar:
                await self._send(simulation, bar)
                # Nothing may be reconciled while the broker is away.
                await asyncio.gather(*(task for task in watching if task.get_name() == _FAULT))
                arriving = bar.add_task("arriving in ClickHouse", total=None)
                found = await settling.wait(
                    self._options.settle_s, lambda rows: bar.update(arriving, description=f"{rows} rows in ClickHouse")
                )
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            if road is not None:
                await asyncio.to_thread(road.close)
            client.close()
        verdicts = reconcile_all(simulation.accounts.values(), found, own_tenant=fleet.own_tenant)
        self._report(verdicts, fleet.tenant_id, interrupted=simulation.was_interrupted)
        return all(verdict.holds for verdict in verdicts)

    def _begin_faults(self, simulation: Simulation) -> list[asyncio.Task[None]]:
        if self._stack is None:
            return []
        tasks = [asyncio.create_task(keep_running(self._stack, self._console.print))]
        if Fault.BROKER_RESTART in self._options.faults:
            after_s = self._options.load.duration_s / 3
            fault = restart_broker(self._stack, after_s, simulation.stopped, self._console.print)
            tasks.append(asyncio.create_task(fault, name=_FAULT))
        return tasks

    async def _send(self, simulation: Simulation, bar: Progress) -> None:
        load = self._options.load
        doors = ", ".join(self._urls[each] for each in sorted({profile.transport for profile in self._profiles}))
        self._console.print(f"sending {load.rate:g} readings/s for {load.duration_s:g} s to {doors}")
        shown = asyncio.create_task(_show(simulation, bar, bar.add_task("sending", total=load.duration_s)))
        try:
            await simulation.run()
        finally:
            shown.cancel()

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def _report(self, verdicts: list[Verdict], tenant_id: str, *, interrupted: bool) -> None:
        holds = all(verdict.holds for verdict in verdicts)
        queries = _queries(tenant_id)
        if self._options.as_json:
            _print_json(verdicts, tenant_id, queries, holds=holds, interrupted=interrupted)
            return
        show_account(self._console, verdicts)
        if interrupted:
            self._console.print("[yellow]Stopped early; what was acknowledged until then is accounted for.[/]")
        self._console.print(
            "[bold green]The account closes: acknowledged = stored once.[/]"
            if holds
            else "[bold red]The account does not close.[/] Look at the lines marked ✗."
        )
        self._console.print("Look for yourself:")
        for query in queries:
            self._console.print(f'  fleetline sql "{query}"', highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _interrupting(simulation: Simulation) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) end the sending, and the next one everything."""
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    assert whole is not None

    def interrupt() -> None:
        if simulation.stopped.is_set():
            whole.cancel()
        else:
            simulation.interrupt()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _show(simulation: Simulation, bar: Progress, task: TaskID) -> None:
    began = time.monotonic()
    while True:
        made = sum(account.made for account in simulation.accounts.values())
        acknowledged = sum(len(account.acknowledged) for account in simulation.accounts.values())
        told = f"{made} readings, {acknowledged} acknowledged"
        bar.update(task, completed=time.monotonic() - began, description=told)
        await asyncio.sleep(_SHOWN_EVERY_S)


def _register(settings: Settings, fleet: Fleet) -> None:
    with RegistryStore(settings) as store:
        store.put(fleet.entries)


def _queries(tenant_id: str) -> list[str]:
    """Write queries for a person to paste: the counts, what is there twice, and what could not be read."""
    queries = (
        "select source, count(), uniqExact(id) from telemetry {ours}",
        "select source, hex(id), count() from telemetry_rows {ours}, id {twice}",
        "select source, reason, count() from quarantine {ours}, reason",
    )
    ours = f"where tenant_id = '{tenant_id}' group by source"
    twice = "having count() > uniqExact(kafka_partition, kafka_offset)"
    return [query.format(ours=ours, twice=twice) for query in queries]


def _print_json(verdicts: list[Verdict], tenant_id: str, queries: list[str], *, holds: bool, interrupted: bool) -> None:
    import sys

    report = {
        "holds": holds,
        "interrupted": interrupted,
        "tenant_id": tenant_id,
        "senders": [{**msgspec.to_builtins(verdict), "holds": verdict.holds} for verdict in verdicts],
        "queries": queries,
    }
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
