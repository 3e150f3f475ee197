"""`fleetline tail`: watch a Kafka topic, decoded."""

from pathlib import Path

import click


@click.command("tail")
@click.argument("topic", default="telemetry")
@click.option("-n", "last", default=10, show_default=True, help="Begin with the last N records.")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest record.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on with what arrives.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="State folder of the local stack.")
def command(topic: str, last: int, from_beginning: bool, follow: bool, as_json: bool, data: Path | None) -> None:
    """Show the records of TOPIC: telemetry (default), events, raw.SOURCE, quarantine, unmapped, deliveries, registry or audit.

    \b
    fleetline tail events
    fleetline tail raw.flespi -n 3 --no-follow --json
    """  # noqa: D301  click reads the backspace itself
    import contextlib

    from fleetline.local_settings import load_settings
    from fleetline.tailing import follow_topic, show

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for record in follow_topic(load_settings(data), topic, None if from_beginning else last, follow=follow):
            click.echo(show(record, as_json=as_json))
