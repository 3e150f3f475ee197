"""`fleetline simulate`: play senders as they really behave, and prove that acknowledged = stored once."""

from pathlib import Path

import click


@click.command("simulate")
@click.argument("source", required=False)
@click.option("--list", "show_list", is_flag=True, help="Show the senders and how each behaves.")
@click.option("--devices", type=click.IntRange(1), default=20, show_default=True, help="Devices in all.")
@click.option(
    "--rate", type=click.FloatRange(0.1), default=100.0, show_default=True, help="Readings per second in all."
)
@click.option("--duration", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Seconds of sending.")
@click.option(
    "--faults", default="", metavar="A,B", help="lost-ack, duplicate, broker-restart, slow, reorder, disconnect."
)
@click.option(
    "--fault-share",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of requests each strikes.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet and faults.")
@click.option(
    "--longest-pause", type=click.FloatRange(0), default=1.0, show_default=True,
    help="Seconds that pauses of senders are cut to: in life they take minutes.",
)  # fmt: skip
@click.option(
    "--drain", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to empty buffers at the end."
)
@click.option(
    "--settle",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    help="Seconds for records to arrive at most.",
)
@click.option("--url", default="", help="Ingress of a running stack [default: start a temporary one].")
@click.option("--mqtt-url", default="", help="With --url: where it listens for MQTT, mqtt://… or mqtts://….")
@click.option(
    "--websocket-url", default="", help="With --url: where it listens for device WebSockets, ws://… or wss://…."
)
@click.option("--clickhouse-url", default="", help="With --url [default: CLICKHOUSE_URL].")
@click.option(
    "--credentials", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --url and without KAFKA_BOOTSTRAP_SERVERS: existing credentials, see docs/simulate.md.",
)  # fmt: skip
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="State folder, kept [default: temporary]."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    source: str | None,
    show_list: bool,
    devices: int,
    rate: float,
    duration: float,
    faults: str,
    fault_share: float,
    seed: int,
    longest_pause: float,
    drain: float,
    settle: float,
    url: str,
    mqtt_url: str,
    websocket_url: str,
    clickhouse_url: str,
    credentials: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Play SOURCE (or `all`) against a real stack, then hold what was acknowledged against ClickHouse.

    Each sender has its real batch size, timeout and retry behaviour; one that drops what fails loses it here too, and the
    report says so. Exit status 1 if anything acknowledged is missing or there twice.

    \b
    fleetline simulate flespi --devices 50 --rate 500
    fleetline simulate all --faults lost-ack,broker-restart,duplicate
    """  # noqa: D301  click reads the backspace itself
    if show_list:
        _list(as_json)
        return
    if source is None:
        raise click.UsageError("say which sender to play, or `all`; --list shows them")
    from fleetline.simulator.drive import Load
    from fleetline.simulator.faults import parse_faults
    from fleetline.simulator.options import Options
    from fleetline.simulator.session import simulate

    load = Load(rate=rate, duration_s=duration, longest_pause_s=longest_pause, drain_s=drain, seed=seed)
    closes = simulate(
        Options(
            sender=source,
            devices=devices,
            load=load,
            faults=parse_faults(faults),
            fault_share=fault_share,
            settle_s=settle,
            url=url,
            mqtt_url=mqtt_url,
            websocket_url=websocket_url,
            clickhouse_url=clickhouse_url,
            credentials=credentials,
            data=data,
            as_json=as_json,
        )
    )
    click.get_current_context().exit(0 if closes else 1)


def _list(as_json: bool) -> None:
    from rich.console import Console

    from fleetline.simulator.catalog import load_profiles
    from fleetline.simulator.report import profile_row, show_profiles

    if as_json:
        import orjson

        click.echo(orjson.dumps([profile_row(profile) for profile in load_profiles().values()]).decode())
        return
    console = Console()
    show_profiles(console if console.is_terminal else Console(width=150))
