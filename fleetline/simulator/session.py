"""A simulation from start to end: a stack of its own or a running one, the run, and everything stopped again."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from fleetline.errors import FleetlineError
from fleetline.local.stack import Stack, with_free_ports
from fleetline.local_settings import load_settings, settings_of_environment
from fleetline.simulator.catalog import chosen_profiles
from fleetline.simulator.doors import COMPONENTS, Urls
from fleetline.simulator.faults import Fault
from fleetline.simulator.fleet import Fleet, GivenCredentials, given_fleet, new_fleet
from fleetline.simulator.options import Options
from fleetline.simulator.profile import Profile, Transport
from fleetline.simulator.run import Run
from registry.errors import RegistryError

_WIDTH_OF_A_LOG = 170


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
        base = settings_of_environment().model_copy(update={"data_dir": folder})
        _refuse_foreign_broker(options)
        with Stack(with_free_ports(base), notify=console.print) as stack:
            doors = stack.door_urls()
            urls = {transport: doors[component] for transport, component in COMPONENTS.items()}
            run = Run(options, profiles, stack.settings, urls, console, stack)
            closes = _played(run, new_fleet(profiles, options.devices), register=True)
        done.append(closes)
        _say_where(console, folder, kept=options.data is not None or not closes)
    return closes


def _against_running(options: Options, profiles: tuple[Profile, ...], console: Console) -> bool:
    if Fault.BROKER_RESTART in options.faults:
        raise FleetlineError("broker-restart needs a stack of our own: leave --url out")
    urls, profiles = _reachable(options, profiles, console)
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
    run = Run(options, profiles, settings, urls, console, None)
    return _played(run, fleet, register=register)


def _reachable(options: Options, profiles: tuple[Profile, ...], console: Console) -> tuple[Urls, tuple[Profile, ...]]:
    """Return where the doors are, and the senders that have one. Raises FleetlineError when the one asked for has none."""
    given: dict[Transport, str] = {"http": options.url, "mqtt": options.mqtt_url, "websocket": options.websocket_url}
    urls: Urls = {transport: url.rstrip("/") for transport, url in given.items() if url}
    without = [profile for profile in profiles if profile.transport not in urls]
    for profile in without:
        said = f"{profile.name} needs --{profile.transport}-url"
        if len(profiles) == 1:
            raise FleetlineError(said)
        console.print(f"left out: {said}")
    return urls, tuple(profile for profile in profiles if profile not in without)


def _played(run: Run, fleet: Fleet, *, register: bool) -> bool:
    try:
        return asyncio.run(run.run(fleet, register=register))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except RegistryError as error:
        raise FleetlineError(str(error)) from error
    except ClickHouseError as error:
        raise FleetlineError(f"ClickHouse cannot be asked: {str(error)[:300]}") from error


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
