"""`fleetline serve`: run one component, as a container would."""

import click

SERVERS = {
    "ingress": "ingress.server",
    "mqtt": "ingress.mqtt.server",
    "websocket": "ingress.websocket_server",
    "processors": "processors.worker",
    "clickhouse": "sinks.clickhouse.server",
    "delivery": "sinks.delivery.worker",
}


@click.command("serve")
@click.argument("component", type=click.Choice(tuple(SERVERS)))
def command(component: str) -> None:
    r"""Run COMPONENT against KAFKA_BOOTSTRAP_SERVERS and CLICKHOUSE_URL until SIGTERM.

    \b
    ingress      takes requests over HTTP and makes them durable (port: FLEETLINE_INGRESS_PORT)
    mqtt         takes messages over MQTT 3.1.1 and 5 (port: FLEETLINE_MQTT_PORT; TLS with FLEETLINE_TLS_CERTIFICATE)
    websocket    takes devices' frames over WebSocket (port: FLEETLINE_WEBSOCKET_PORT)
    processors   the Faust worker: normalize, identify, detect, route
    clickhouse   loads telemetry, events, quarantine and the delivery log into ClickHouse, exactly once
    delivery     posts events to webhooks

    It waits for Kafka and makes the topics that are missing. Exit status 0 after SIGTERM; anything else means it must be
    started again: no acknowledged record is lost by that.
    """
    import importlib

    from fleetline.kafka_admin import ensure_topics
    from fleetline.settings import Settings

    settings = Settings()
    ensure_topics(settings, timeout_s=120.0)
    importlib.import_module(SERVERS[component]).serve(settings)
