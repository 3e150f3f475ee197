"""`fleetline serve`: run one component, as a container would."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from fleetline.settings import Settings

_WITHOUT_KAFKA_S = 3.0

SERVERS = {
    "ingress": "ingress.server",
    "mqtt": "ingress.mqtt.server",
    "websocket": "ingress.websocket_server",
    "admin": "admin.server",
    "processors": "processors.worker",
    "clickhouse": "sinks.clickhouse.server",
    "delivery": "sinks.delivery.worker",
}


class Component(click.ParamType):
    """One of `SERVERS`, or the connector of a source; the sources are only read when it is none of the former."""

    name = "component"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the names there are."""
        name = str(value)
        if name not in SERVERS:
            from ingress.pulling import connectors
            from sources.catalog import load_sources

            known = (*SERVERS, *connectors(load_sources()))
            if name not in known:
                self.fail(f"{name!r} is not one of {', '.join(known)}", param, ctx)
        return name


@click.command("serve")
@click.argument("component", type=Component())
def command(component: str) -> None:
    """Run COMPONENT against KAFKA_BOOTSTRAP_SERVERS and CLICKHOUSE_URL until SIGTERM.

    \b
    ingress      takes requests over HTTP and makes them durable (port: FLEETLINE_INGRESS_PORT)
    mqtt         takes messages over MQTT 3.1.1 and 5 (port: FLEETLINE_MQTT_PORT; TLS with FLEETLINE_TLS_CERTIFICATE)
    websocket    takes devices' frames over WebSocket (port: FLEETLINE_WEBSOCKET_PORT)
    admin        the admin API: tenants, devices, keys over HTTP (port: FLEETLINE_ADMIN_PORT; first key: FLEETLINE_ADMIN_TOKEN)
    processors   the Faust worker: normalize, identify, detect, route; releases what waited for an unknown device
    clickhouse   loads telemetry, events, unmapped, quarantine and the delivery log into ClickHouse, exactly once
    delivery     posts events to webhooks
    SOURCE-pull  fetches from a sender's platform what it does not push, or pushed in vain, e.g. biketrax-pull

    It waits for Kafka and makes the topics that are missing. Exit status 0 after SIGTERM; anything else means it must be
    started again: no acknowledged record is lost by that.
    """  # noqa: D301  click reads the backspace itself
    from fleetline.kafka_admin import ensure_topics
    from fleetline.local_settings import settings_of_environment

    settings = settings_of_environment()
    serve = _server(component)
    alone = _may_start_without_kafka(component, settings)
    try:
        ensure_topics(settings, timeout_s=_WITHOUT_KAFKA_S if alone else 120.0, patient=not alone)
    except FleetlineError as error:
        if not alone:
            raise
        logging.getLogger(__name__).warning("%s; starting without it, on the local copy of the registry", error.message)
    serve(settings)


def _may_start_without_kafka(component: str, settings: "Settings") -> bool:
    """Tell whether a component can do its work alone for a while: the front door, with a spool and a local registry."""
    copies = settings.data_dir / "registry"
    return component == "ingress" and settings.spool_max_bytes > 0 and any(copies.glob("*.copy"))


def _server(component: str) -> Callable[[Any], None]:
    """Import a component. Raises FleetlineError when a connector's settings are not usable."""
    import importlib

    if component in SERVERS:
        return importlib.import_module(SERVERS[component]).serve  # type: ignore[no-any-return]
    from ingress.pulling import connectors, prepare
    from sources.catalog import load_sources

    return prepare(connectors(load_sources())[component])
