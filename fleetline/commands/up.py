"""`fleetline up`: start the whole stack on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


@click.command("up")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="State folder, kept between runs [default: .fleetline].",
)
@click.option("--ingress-port", type=int, help="[default: 8080, or FLEETLINE_INGRESS_PORT]")
@click.option("--mqtt-port", type=int, help="[default: 1883, or FLEETLINE_MQTT_PORT]")
@click.option("--websocket-port", type=int, help="[default: 8082, or FLEETLINE_WEBSOCKET_PORT]")
@click.option("--admin-port", type=int, help="[default: 8081, or FLEETLINE_ADMIN_PORT]")
@click.option("--kafka-port", type=int, help="[default: 9092, or FLEETLINE_KAFKA_PORT]")
@click.option("--clickhouse-port", type=int, help="[default: 8123, or FLEETLINE_CLICKHOUSE_PORT]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the addresses once all is ready.")
def command(
    data: Path | None,
    ingress_port: int | None,
    mqtt_port: int | None,
    websocket_port: int | None,
    admin_port: int | None,
    kafka_port: int | None,
    clickhouse_port: int | None,
    as_json: bool,
) -> None:
    """Start Kafka, ClickHouse, the doors (HTTP, MQTT, WebSocket), admin API, processors, loader, delivery; stop all on Ctrl-C.

    Kafka or ClickHouse named by KAFKA_BOOTSTRAP_SERVERS or CLICKHOUSE_URL is used instead of a local one. The first start
    fetches the broker; later ones need no network. Logs are in DATA/logs; `fleetline reset` removes the state.
    """
    import signal
    import threading
    import time

    import orjson
    from rich.console import Console

    from fleetline.local.stack import Stack
    from fleetline.local.table import health_table
    from fleetline.local_settings import settings_of_environment

    given = {
        "data_dir": data,
        "ingress_port": ingress_port,
        "mqtt_port": mqtt_port,
        "websocket_port": websocket_port,
        "admin_port": admin_port,
        "kafka_port": kafka_port,
        "clickhouse_port": clickhouse_port,
    }
    settings = settings_of_environment().model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    console = Console(stderr=as_json)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    started = time.monotonic()
    with console.status("starting") as status:
        stack = Stack(settings, notify=lambda what: _tell(console, status, what), cancelled=stopped)
        stack.__enter__()
    try:
        if as_json:
            click.echo(orjson.dumps(stack.urls()).decode())
        else:
            console.print(health_table(stack))
            console.print(
                f"Ready after {time.monotonic() - started:.1f} s. Ctrl-C stops everything; "
                f"state and logs stay in {stack.settings.data_dir}"
            )
        stack.watch(stopped, lambda what: console.print(f"[yellow]{what}[/]"))
        console.print("Stopping.")
    finally:
        stack.stop()


def _tell(console: "Console", status: "Status", what: str) -> None:
    status.update(what)
    if not console.is_terminal:
        console.print(what)
