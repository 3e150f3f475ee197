"""Which door a sender goes to, and the wire to it."""

from collections.abc import Mapping

from fleetline.simulator.http_wire import HttpWire
from fleetline.simulator.links import Links
from fleetline.simulator.mqtt import MqttConversation
from fleetline.simulator.profile import Transport
from fleetline.simulator.websocket import WebSocketConversation
from fleetline.simulator.wire import Wire

COMPONENTS: Mapping[Transport, str] = {"http": "ingress", "mqtt": "mqtt", "websocket": "websocket"}
"""The component behind each door."""
Urls = Mapping[Transport, str]
"""Where the doors are; one that is not there cannot be used."""


def open_wire(transport: Transport, url: str) -> Wire:
    """Make the wire to a door. Nothing is connected before it is used."""
    if transport == "http":
        return HttpWire(url)
    return Links(url, MqttConversation if transport == "mqtt" else WebSocketConversation)
