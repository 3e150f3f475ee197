"""One client's connection as a state machine: packets in, acknowledgements out. Knows neither socket nor clock."""

import asyncio
import logging
import random
import time

from ingress.errors import NotDurable, RejectedRequest, TooManyRequests, Unauthorized
from ingress.mqtt import packets as wire
from ingress.mqtt.codec import Decoder, UnsupportedVersion
from ingress.mqtt.gate import Forbidden, Passage
from ingress.mqtt.house import Hold, House, Link, Phase
from ingress.mqtt.metrics import Outcome
from ingress.mqtt.owed import CLOSES, Owed, Pending
from ingress.mqtt.packets import Connect, Packet, Publish, Reason, Release, Subscribe, Unsubscribe, Violation
from schemas.ids import new_id
from sources.errors import Refused

log = logging.getLogger(__name__)

IN_FLIGHT = 64
"""Publishes of one connection that may wait for Kafka; then its socket is not read. Announced as Receive Maximum."""
IN_FLIGHT_BYTES = 1024 * 1024
"""The same in bytes; one larger packet is taken alone."""
UNRELEASED = 1024
"""Packet identifiers of QoS 2 that may wait for their PUBREL."""
REFUSALS_LOGGED = 10
"""Of one connection: a client must not fill the log. All of them are counted."""
CONNECT_WITHIN_S = 10.0
PACKET_WITHIN_S = 60.0
CLOSE_WITHIN_S = 5.0
_COME_BACK_S = (1.0, 5.0)
"""While Kafka is away connections end after a random pause: all clients at once would only add to the trouble."""
_LARGE = 64 * 1024
_OVERHEAD_BYTES = 1024
"""What a waiting message costs beside its payload."""


class Session:
    """The state machine, and its guarantees.

    - PUBACK and PUBREC are sent after Kafka has the message, in the order the publishes came (MQTT-4.6.0-2, -3).
    - What cannot be made durable is never acknowledged: the connection ends, and the client sends it again.
    - A QoS 2 publish that comes again before its PUBREL is answered again and not stored again.
    - Publishes of one connection are handed to Kafka in the order they came.
    """

    __slots__ = (
        "_carried", "_decoder", "_deferred", "_heard", "_heard_at", "_held", "_hold", "_house", "_in_flight", "_keep_alive_s",
        "_link", "_owed", "_paused", "_refusals", "_token", "_whole", "_whole_at", "level", "phase", "seat_key",
    )  # fmt: skip

    def __init__(self, house: House, link: Link) -> None:
        self._house = house
        self._link = link
        self._decoder = Decoder(house.largest_packet)
        self._owed = Owed()
        self._deferred: Publish | None = None
        self._token = ""
        self._in_flight = 0
        self._carried = 0
        self._held = 0
        self._refusals = 0
        self._keep_alive_s = 0.0
        self._heard_at = self._whole_at = 0.0
        self._heard = self._whole = True
        """Since the last tick, which notes the time: ticks are coarse, and nobody's time may be cut short by that."""
        self._hold = Hold.NONE
        self._paused = False
        self.level = 0
        self.phase = Phase.NEW
        self.seat_key = ("", "")

    # --- what happens to it --------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.phase > Phase.OPEN:
            return
        self._heard = True
        self._decoder.feed(data)
        self.go_on()

    def lost(self) -> None:
        """Learn that the socket is closed. What came completely before is stored all the same: QoS 0 comes only once."""
        was_open = self.phase is Phase.OPEN
        self.phase = Phase.GONE
        self._hold &= ~Hold.UNWRITABLE
        if was_open:
            self.go_on()
        self._house.hold(-self._held)
        self._held = 0

    def writable(self, yes: bool) -> None:
        """Learn whether the client takes its acknowledgements. If not, nothing more is read from it."""
        if yes:
            self._hold &= ~Hold.UNWRITABLE
            self.go_on()
        else:
            self._hold |= Hold.UNWRITABLE
            self._flow()

    def tick(self, now: float) -> None:
        """Enforce the time limits; called about once a second, with a clock in seconds."""
        if self._heard or self._paused:  # nobody can be heard while nobody listens
            self._heard_at, self._heard = now, False
        if self._whole or (self._paused and self.phase is Phase.OPEN):
            self._whole_at, self._whole = now, False
        if self.phase is Phase.NEW:
            if now - self._whole_at > CONNECT_WITHIN_S:
                self._end(Reason.KEEP_ALIVE_TIMEOUT, "no CONNECT in time")
        elif self.phase is Phase.CLOSING:
            if now - self._whole_at > CLOSE_WITHIN_S + _COME_BACK_S[1]:
                self._link.abort()
        elif self.phase is Phase.OPEN:
            if self._keep_alive_s and now - self._heard_at > self._keep_alive_s:
                self._end(Reason.KEEP_ALIVE_TIMEOUT, "silent for longer than its keep-alive")
            elif self._decoder.held and now - self._whole_at > max(PACKET_WITHIN_S, self._keep_alive_s):
                self._end(Reason.KEEP_ALIVE_TIMEOUT, "a packet that does not end")

    def close(self, reason: Reason) -> None:
        """End the connection from our side: told to clients of MQTT 5, done to the others."""
        if self.phase >= Phase.CLOSING:
            return
        if self.phase is Phase.OPEN and self.level == wire.V5:
            self._link.write(wire.disconnect(reason))
        self._leave()

    def abort(self) -> None:
        """Close the socket at once."""
        self._link.abort()

    def stop_taking(self) -> None:
        """Take nothing more from the client: the server is about to stop."""
        self._hold |= Hold.STOPPING
        self._flow()

    # --- packets -------------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Handle what is there, as far as the limits allow."""
        try:
            while not self._is_full():
                if self._deferred is not None:
                    packet: Packet | None = self._deferred
                    self._deferred = None
                else:
                    packet = self._decoder.next()
                if packet is None:
                    break
                self._whole = True
                self._handle(packet)
        except Violation as violation:
            self._violated(violation)
        self._flow()

    def _is_full(self) -> bool:
        if self._hold or self.phase is Phase.CLOSING:
            return True
        if self._in_flight >= IN_FLIGHT or self._carried >= IN_FLIGHT_BYTES:
            return True
        if self._house.has_room():
            return False
        self._house.wait_for_room(self)
        return True

    def _flow(self) -> None:
        """Read from the socket exactly while there is room for what comes."""
        if self.phase > Phase.OPEN:
            return
        full = self._is_full()
        if full is not self._paused:
            self._paused = full
            if full:
                self._link.pause_reading()
            else:
                self._link.resume_reading()
        held = self._decoder.held
        if not held:
            self._whole = True
        charged = held if held > _LARGE else 0
        if charged != self._held:
            difference, self._held = charged - self._held, charged
            if not self._house.hold(difference) and difference > 0:
                self._end(Reason.QUOTA_EXCEEDED, "too many large packets at once")

    def _handle(self, packet: Packet) -> None:
        kind = type(packet)
        if kind is Publish:
            self._publish(packet)  # type: ignore[arg-type]
        elif kind is wire.Ping:
            self._write(wire.PINGRESP)
        elif kind is Release:
            self._release(packet)  # type: ignore[arg-type]
        elif kind is Connect:
            self._connect(packet)  # type: ignore[arg-type]
        elif kind is Subscribe:
            self._subscribe(packet)  # type: ignore[arg-type]
        elif kind is Unsubscribe:
            assert isinstance(packet, Unsubscribe)
            self._write(wire.unsuback(self.level, packet.packet_id, len(packet.filters)))
        else:
            self._house.counts.ended("client")
            self._leave()

    def _connect(self, packet: Connect) -> None:
        self.level = packet.level
        counts = self._house.counts
        try:
            credential = self._house.gate.admit(packet.username)
        except (Unauthorized, TooManyRequests) as error:
            refused = Reason.NOT_AUTHORIZED if isinstance(error, Unauthorized) else Reason.UNAVAILABLE
            self._refuse(refused)
            return
        if packet.authentication_method:
            self._refuse(Reason.BAD_AUTHENTICATION_METHOD)
            return
        client_id, assigned = packet.client_id, ""
        if not client_id:
            if packet.level == wire.V3_1_1 and not packet.clean:
                self._refuse(Reason.CLIENT_ID_NOT_VALID)  # MQTT-3.1.3-8
                return
            client_id = assigned = new_id()
        self._token = packet.username
        self._keep_alive_s = packet.keep_alive_s * 1.5
        self.phase = Phase.OPEN
        self.seat_key = (credential.id, client_id)
        self._house.seat(self, self.seat_key)
        counts.connected(Reason.SUCCESS)
        properties = b""
        if packet.level == wire.V5:
            properties = wire.connack_properties(IN_FLIGHT, self._house.largest_packet, assigned, packet.wants_session)
        self._write(wire.connack(packet.level, Reason.SUCCESS, properties))

    def _refuse(self, reason: Reason) -> None:
        self._house.counts.connected(reason)
        self._write(wire.connack(self.level, reason))
        self._leave()

    def _publish(self, packet: Publish) -> None:
        if packet.qos == 2 and self._is_repeated(packet.packet_id):
            return
        try:
            passage = self._house.gate.open(self._token, packet, self.level)
        except TooManyRequests as error:
            self._defer(packet, error.retry_after_s)
            return
        except Unauthorized:
            self._house.counts.published(packet.qos, Outcome.UNAUTHORIZED)
            self._end(Reason.NOT_AUTHORIZED, "its token was revoked")
            return
        except Forbidden as forbidden:
            self._forbid(packet, forbidden)
            return
        pending = None
        if packet.qos:
            pending = self._owed.add(wire.PUBACK if packet.qos == 1 else wire.PUBREC, packet.packet_id)
        size = len(packet.payload) + _OVERHEAD_BYTES
        self._in_flight += 1
        self._carried += size
        self._house.carry(size)
        self._house.spawn(self._store(passage, packet.qos, size, pending))

    def _is_repeated(self, packet_id: int) -> bool:
        """Answer a QoS 2 publish that has been stored already, and pass over one that is being stored."""
        if self._owed.is_stored(packet_id):
            self._owed.add(wire.PUBREC, packet_id, 0)
            self._settle()
            return True
        return self._owed.is_being_stored(packet_id)

    def _defer(self, packet: Publish, wait_s: float) -> None:
        """Hold a client to its rate: its socket is not read until it may go on."""
        self._house.counts.published(packet.qos, Outcome.DEFERRED)
        self._deferred = packet
        self._hold |= Hold.RATE

        def again() -> None:
            self._hold &= ~Hold.RATE
            self.go_on()

        asyncio.get_running_loop().call_later(wait_s, again)

    def _forbid(self, packet: Publish, forbidden: Forbidden) -> None:
        """Refuse a foreign or unknown topic: MQTT 3.1.1 can only close the connection (MQTT-3.3.5-2)."""
        self._house.counts.published(packet.qos, Outcome.FORBIDDEN)
        self._refusals += 1
        if self._refusals <= REFUSALS_LOGGED:
            log.warning("publish to %s refused: not a topic of credential %s", forbidden.topic, self.seat_key[0])
        if self.level < wire.V5 or not packet.qos:
            self._end(Reason.NOT_AUTHORIZED, "")
            return
        kind = wire.PUBACK if packet.qos == 1 else wire.PUBREC
        self._owed.add(kind, packet.packet_id, Reason.NOT_AUTHORIZED)
        self._settle()

    def _release(self, packet: Release) -> None:
        reason = 0 if self._owed.release(packet.packet_id) or self.level < wire.V5 else Reason.PACKET_ID_NOT_FOUND
        self._write(wire.acknowledgement(wire.PUBCOMP, packet.packet_id, reason))

    def _subscribe(self, packet: Subscribe) -> None:
        """Grant what lies beside the client's own topics, where firmware waits for attributes and commands; none ever come."""
        codes = [self._granted(name, qos) for name, qos in packet.filters]
        self._write(wire.suback(self.level, packet.packet_id, codes))

    def _granted(self, name: str, qos: int) -> int:
        levels = name.split("/")
        if not name or any(("#" in each or "+" in each) and len(each) > 1 for each in levels) or "#" in levels[:-1]:
            return Reason.TOPIC_FILTER_INVALID
        if levels[0] == "$share":
            return Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED
        return qos if self._house.gate.topics.is_own(name, self._token) else Reason.NOT_AUTHORIZED

    # --- storing and acknowledging -------------------------------------------------------------------------------------

    async def _store(self, passage: Passage, qos: int, size: int, pending: Pending | None) -> None:
        started = time.perf_counter()
        counts = self._house.counts
        source = passage.acceptance.source.name
        try:
            await passage.acceptance.store(passage.request, passage.credential)
        except Exception as error:  # noqa: BLE001  whatever happened, the publish is not acknowledged as stored
            outcome, reason = self._outcome(error, source)
        else:
            outcome, reason = Outcome.STORED, 0
            counts.stored(source, size - _OVERHEAD_BYTES, time.perf_counter() - started)
        counts.published(qos, outcome)
        self._in_flight -= 1
        self._carried -= size
        self._house.carry(-size)
        if pending is not None:
            pending.reason = reason
            self._settle()
        self.go_on()

    def _outcome(self, error: Exception, source: str) -> tuple[Outcome, int]:
        """Say what becomes of a publish that was not stored. With `CLOSES`, the connection ends."""
        if isinstance(error, Refused):
            bad = Reason.PAYLOAD_FORMAT_INVALID if error.status == 400 else Reason.QUOTA_EXCEEDED
            return Outcome.REFUSED, bad
        if isinstance(error, NotDurable):
            return Outcome.NOT_DURABLE, CLOSES + Reason.QUOTA_EXCEEDED
        if isinstance(error, RejectedRequest):
            log.error("a publish to source %s can never be stored: %s", source, error.detail)
        else:
            log.error("a publish to source %s failed", source, exc_info=error)
        return Outcome.FAILED, CLOSES + Reason.IMPLEMENTATION_ERROR

    def _settle(self) -> None:
        """Send the acknowledgements that are due, in order; one that can never be sent ends the connection."""
        if self.phase is not Phase.OPEN or self._hold & Hold.GIVEN_UP:
            self._owed.clear()
            return
        answers, ending = self._owed.due()
        if answers:
            self._link.write(answers)
        if ending is not None:
            self._give_up(ending)
        elif self._owed.unreleased > UNRELEASED:
            self._end(Reason.RECEIVE_MAXIMUM_EXCEEDED, "too many publishes without PUBREL")

    def _give_up(self, reason: Reason) -> None:
        """End the connection, so that the client sends again what it got no answer for; after a pause, with nothing read."""
        self._hold |= Hold.GIVEN_UP
        self._owed.clear()
        self._flow()
        pause_s = random.uniform(*_COME_BACK_S)  # noqa: S311  spreads load, hides nothing
        asyncio.get_running_loop().call_later(pause_s, self._end, reason, "not durable")

    # --- ending --------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self.phase <= Phase.OPEN:
            self._link.write(data)

    def _violated(self, violation: Violation) -> None:
        if self.phase is Phase.NEW:
            if isinstance(violation, UnsupportedVersion):
                self._link.write(wire.connack(wire.V3_1_1, Reason.UNSUPPORTED_VERSION))
            self._house.counts.connected(violation.reason)
        self._end(violation.reason, str(violation))

    def _end(self, reason: Reason, why: str) -> None:
        if self.phase >= Phase.CLOSING:
            return
        self._house.counts.ended(reason.name.lower())
        if why:
            log.info("connection of credential %s ended: %s", self.seat_key[0] or "?", why)
        self.close(reason)

    def _leave(self) -> None:
        """Close the socket as soon as everything is sent."""
        if self.phase < Phase.CLOSING:
            self.phase = Phase.CLOSING
            self._whole = True
            self._link.close()
