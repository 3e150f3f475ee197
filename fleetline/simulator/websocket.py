"""The device WebSocket as a client speaks it: an auth frame, then telemetry frames with ids, each kept until its ack."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fleetline.simulator.links import OPENING, Heard, Message
from fleetline.simulator.profile import Outgoing

_ACKNOWLEDGED = 200


class WebSocketConversation:
    """One device's connection. `Outgoing.body` is `{"ts": …, "telemetry": {…}}`; in the frame the time stands beside `data`."""

    def __init__(self, url: str, outgoing: Outgoing, _: int) -> None:
        self._url = url
        self._token = outgoing.token
        self._protocol: Any = None
        self._is_open = False

    def open(self) -> bytes:
        """Return the handshake of HTTP."""
        from websockets.client import ClientProtocol
        from websockets.uri import parse_uri

        self._is_open = False
        self._protocol = ClientProtocol(parse_uri(self._url))
        self._protocol.send_request(self._protocol.connect())
        return self._to_send()

    def message(self, message: Message) -> bytes:
        """Return a telemetry frame; a repetition has the same id. Raises EOFError once the server has begun to close."""
        reading = orjson.loads(message.outgoing.body)
        frame = {"type": "telemetry", "id": message.key, "ts": reading["ts"], "data": reading["telemetry"]}
        return self._framed(frame)

    def received(self, data: bytes, _: Mapping[int, Message]) -> tuple[Sequence[Heard], bytes]:
        """Take frames; pings and the end are answered. Raises ValueError for frames that are not ours."""
        from websockets.frames import Frame, Opcode
        from websockets.protocol import OPEN

        self._protocol.receive_data(data)
        heard: list[Heard] = []
        answers = b""
        for event in self._protocol.events_received():
            if not isinstance(event, Frame):  # the answer to the handshake
                if self._protocol.state is OPEN:
                    answers += self._framed({"type": "auth", "deviceToken": self._token})
                else:
                    heard.append(Heard(OPENING, event.status_code, f"handshake {event.status_code}"))
            elif event.opcode is Opcode.TEXT:
                heard.append(self._read(orjson.loads(event.data)))
        return heard, answers + self._to_send()

    def _read(self, frame: dict[str, Any]) -> Heard:
        if not self._is_open:
            self._is_open = frame["type"] == "auth"
            return Heard(OPENING, _ACKNOWLEDGED if self._is_open else 401, "auth")
        if frame["type"] == "ack":
            return Heard(frame["id"], _ACKNOWLEDGED, "ack")
        return Heard(frame.get("id", OPENING), frame["status"], f"error {frame['status']}")

    def _framed(self, frame: dict[str, Any]) -> bytes:
        from websockets.exceptions import WebSocketException

        try:
            self._protocol.send_text(orjson.dumps(frame))
        except WebSocketException:
            raise EOFError("the server is closing the connection") from None
        return self._to_send()

    def _to_send(self) -> bytes:
        return b"".join(self._protocol.data_to_send())
