"""One simulation from start to end: a stack, a fleet, the sending, the reconciliation, the report."""

import asyncio
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fleetline.errors import FleetlineError
from fleetline.local.stack import Stack, with_free_ports
from fleetline.local_settings import load_settings
from fleetline.settings import Settings
from fleetline.simulator.broker import keep_running, restart_broker
from fleetline.simulator.catalog import chosen_profiles
from fleetline.simulator.drive import Simulation
from fleetline.simulator.faults import Fault, Faults
from fleetline.simulator.fleet import Fleet, GivenCredentials, given_fleet, new_fleet
from fleetline.simulator.options import Options
from fleetline.simulator.profile import Profile
from fleetline.simulator.reconcile import Verdict, reconcile
from fleetline.simulator.report import show_account
from fleetline.simulator.settled import Lag, Settling
from registry.store import RegistryStore
from schemas.times import now_us
from sinks.clickhouse.connection import connect

_WIDTH_OF_A_LOG = 170
_ACCEPTED_WITHIN_S = 15.0
_CLOCKS_DIFFER_US = 3_600_000_000
_SHOWN_EVERY_S = 0.2


def simulate(options: Options) -> bool:
    """Run a simulation and return whether its account closes. Whatever it started is stopped at the end.

    Raises FleetlineError for what is asked for wrongly, and when the stack cannot be started or reached.
    """
    profiles = chosen_profiles(options.sender)
    console = Console(stderr=options.as_json)
    if not console.is_terminal:
        console = Console(stderr=options.as_json, width=_WIDTH_OF_A_LOG)
    if options.url:
        return _against_running(options, profiles, console)
    with _state_folder(options.data) as (folder, done):
        base = Settings().model_copy(update={"data_dir": folder})
        _refuse_foreign_broker(options)
        with Stack(with_free_ports(base), notify=console.print) as stack:
            run = _Run(options, profiles, stack.settings, stack.ingress_url, console, stack)
            closes = asyncio.run(run.run(new_fleet(profiles, options.devices), register=True))
        done.append(closes)
        _say_where(console, folder, kept=options.data is not None or not closes)
    return closes


def _against_running(options: Options, profiles: tuple[Profile, ...], console: Console) -> bool:
    if Fault.BROKER_RESTART in options.faults:
        raise FleetlineError("broker-restart needs a stack of our own: leave --url out")
    settings = load_settings(options.data)
    if options.clickhouse_url:
        settings = settings.model_copy(update={"clickhouse_url": options.clickhouse_url})
    register = options.credentials is None
    if register and not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise FleetlineError(
            "to register the simulated devices set KAFKA_BOOTSTRAP_SERVERS; or name existing credentials with --credentials"
        )
    if options.credentials is None:
        fleet = new_fleet(profiles, options.devices)
    else:
        fleet = given_fleet(profiles, options.devices, _read_credentials(options.credentials))
    run = _Run(options, profiles, settings, options.url.rstrip("/"), console, None)
    return asyncio.run(run.run(fleet, register=register))


def _read_credentials(path: Path) -> GivenCredentials:
    try:
        return msgspec.json.decode(path.read_bytes(), type=GivenCredentials)
    except (OSError, msgspec.MsgspecError) as error:
        raise FleetlineError(f"cannot read the credentials in {path}: {error}") from None


def _refuse_foreign_broker(options: Options) -> None:
    if Fault.BROKER_RESTART in options.faults and os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise FleetlineError("broker-restart kills only a Kafka of our own: unset KAFKA_BOOTSTRAP_SERVERS")


@contextmanager
def _state_folder(wanted: Path | None) -> Iterator[tuple[Path, list[bool]]]:
    """Yield the stack's folder and a list for the outcome: a temporary one is removed when the account closed."""
    done: list[bool] = []
    if wanted is not None:
        yield wanted, done
        return
    folder = Path(tempfile.mkdtemp(prefix="fleetline-simulate-"))
    try:
        yield folder, done
    finally:
        if done != [False]:
            shutil.rmtree(folder, ignore_errors=True)


def _say_where(console: Console, folder: Path, *, kept: bool) -> None:
    if kept:
        console.print(
            f"State and logs are in {folder}; look around: fleetline up --data {folder}, then fleetline sql …"
        )
    else:
        console.print("[dim]The stack was a temporary one and is gone; --data FOLDER keeps it.[/]")


class _Run:
    """The part between a stack that is up and one that goes down."""

    def __init__(
        self,
        options: Options,
        profiles: tuple[Profile, ...],
        settings: Settings,
        ingress_url: str,
        console: Console,
        stack: Stack | None,
    ) -> None:
        self._options = options
        self._profiles = profiles
        self._settings = settings
        self._ingress_url = ingress_url
        self._console = console
        self._stack = stack

    async def run(self, fleet: Fleet, *, register: bool) -> bool:
        if register:
            await asyncio.to_thread(_register, self._settings, fleet)
            await _wait_accepted(self._profiles, fleet, self._ingress_url)
        client = await asyncio.to_thread(connect, self._settings)
        lag = Lag(self._settings, tuple(fleet.devices)) if register else None
        began_us = now_us()
        chance = random.Random(self._options.load.seed + 1)  # noqa: S311  which requests are struck
        faults = Faults(self._options.faults, self._options.fault_share, chance)
        simulation = Simulation(self._profiles, fleet, self._ingress_url, self._options.load, faults)
        watching = self._begin_faults()
        try:
            with self._bar() as bar:
                await self._send(simulation, bar)
                await _finished(watching)
                arriving = bar.add_task("arriving in ClickHouse", total=None)
                settling = Settling(
                    client, fleet.tenant_id, 0 if fleet.own_tenant else began_us - _CLOCKS_DIFFER_US,
                    simulation.accounts, lag,
                )  # fmt: skip
                found = await settling.wait(
                    self._options.settle_s, lambda rows: bar.update(arriving, description=f"{rows} rows in ClickHouse")
                )
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            if lag is not None:
                await asyncio.to_thread(lag.close)
            client.close()
        verdicts = [reconcile(account, found, own_tenant=fleet.own_tenant) for account in simulation.accounts.values()]
        self._report(verdicts, fleet.tenant_id, interrupted=simulation.was_interrupted)
        return all(verdict.holds for verdict in verdicts)

    def _begin_faults(self) -> list[asyncio.Task[None]]:
        if self._stack is None:
            return []
        tasks = [asyncio.create_task(keep_running(self._stack, self._console.print), name="keep")]
        if Fault.BROKER_RESTART in self._options.faults:
            after_s = self._options.load.duration_s / 3
            tasks.append(asyncio.create_task(restart_broker(self._stack, after_s, self._console.print), name="fault"))
        return tasks

    async def _send(self, simulation: Simulation, bar: Progress) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, simulation.interrupt)
        shown = asyncio.create_task(
            _show(simulation, bar, bar.add_task("sending", total=self._options.load.duration_s))
        )
        try:
            await simulation.run()
        finally:
            shown.cancel()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

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


async def _finished(watching: list[asyncio.Task[None]]) -> None:
    """Wait until the faults are over: nothing may be reconciled while the broker is away."""
    await asyncio.gather(*(task for task in watching if task.get_name() == "fault"))


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


async def _wait_accepted(profiles: tuple[Profile, ...], fleet: Fleet, url: str) -> None:
    """Wait until the ingress knows the newest credential: the registry is read in order, so it then knows all."""
    last = {profile.source: fleet.devices[profile.source][-1] for profile in profiles}
    deadline = time.monotonic() + _ACCEPTED_WITHIN_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for profile in profiles:
            probe = profile.request(last[profile.source], [{"kind": "probe", "event": {}}])
            while True:
                if await _is_known(session, f"{url}{probe.path}", dict(probe.headers)):
                    break
                if time.monotonic() > deadline:
                    raise FleetlineError(
                        f"the ingress at {url} did not learn the new credentials within {_ACCEPTED_WITHIN_S:.0f} s; is it "
                        "on the Kafka of KAFKA_BOOTSTRAP_SERVERS?"
                    )
                await asyncio.sleep(0.1)


async def _is_known(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> bool:
    """Post an empty body, which makes no record: 401 means that the credential is not known yet."""
    try:
        async with session.post(url, data=b"", headers=headers, allow_redirects=False) as response:
            return response.status != 401
    except aiohttp.ClientError as error:
        raise FleetlineError(f"no ingress at {url.partition('/in/')[0]}: {type(error).__name__}") from None


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
