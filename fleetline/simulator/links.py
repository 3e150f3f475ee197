"""Connections that devices keep: each device has one, pipelines its messages on it, and keeps each until its acknowledgement.

What is on the way when a connection ends is unacknowledged; sent again, it is said to be a repetition where the protocol has a
word for that. The bytes are put on the socket here, so that faults can break them anywhere; what they mean, a `Conversation`
knows.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from fleetline.simulator.faults import Fate
from fleetline.simulator.profile import Outgoing
from fleetline.simulator.wire import Address, Answer, address_of

OPENING = 0
"""Instead of a message's key: what is heard of the connection itself."""
_LOST = "connection lost"
_PROBE_S = 5.0
_KEYS = 65_535
_READ = 65_536
_SLOW_PIECES, _SLOW_S = 8, 1.0


@dataclass(slots=True)
class Message:
    """One message until it is acknowledged; its key, from 1, is the same in every attempt."""

    key: int
    outgoing: Outgoing
    is_repeated: bool = False
    is_received: bool = False
    """MQTT, QoS 2: the server has it, and only the end of the handshake is missing."""


class Heard(msgspec.Struct, frozen=True, gc=False):
    """What the server said of a message, or of the connection. `status` as HTTP's; 0: the connection ended."""

    key: int
    status: int
    name: str = ""


class Conversation(Protocol):
    """A client's side of a protocol without its socket. One per device; `open` begins it anew."""

    def open(self) -> bytes:
        """Return what a client says first."""

    def message(self, message: Message) -> bytes:
        """Return a message as bytes. Raises EOFError when the server has said goodbye already."""

    def received(self, data: bytes, messages: Mapping[int, Message]) -> tuple[Sequence[Heard], bytes]:
        """Take what came; return what it means, and what has to be answered. Raises ValueError for what is no protocol."""


class Links:
    """The wire of a fleet, one connection for each `Outgoing.sender`."""

    def __init__(self, url: str, converse: Callable[[str, Outgoing, int], Conversation]) -> None:
        """`converse(url, a message of the device, how many devices came before)` begins a device's conversation."""
        self._url = url
        self._address = address_of(url)
        self._converse = converse
        self._links: dict[str, _Link] = {}

    async def exchange(self, outgoing: Outgoing, timeout_s: float, fate: Fate = Fate.NORMAL) -> Answer:
        """Send a message on its device's connection, which is made if there is none, and wait for its acknowledgement."""
        return await self._link(outgoing).exchange(outgoing, timeout_s, fate)

    async def probe(self, outgoing: Outgoing) -> Answer:
        """Open the device's connection and send nothing on it."""
        return await self._link(outgoing).probe()

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()

    def _link(self, outgoing: Outgoing) -> "_Link":
        if outgoing.sender not in self._links:
            conversation = self._converse(self._url, outgoing, len(self._links))
            self._links[outgoing.sender] = _Link(self._address, conversation)
        return self._links[outgoing.sender]


class _NotLetIn(Exception):
    def __init__(self, heard: Heard) -> None:
        super().__init__(heard.name)
        self.heard = heard


class _Link:
    """One device: its connection, made again when it is needed, and the messages that are not acknowledged."""

    def __init__(self, address: Address, conversation: Conversation) -> None:
        self._address = address
        self._conversation = conversation
        self._messages: dict[int, Message] = {}
        self._last_key = 0
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    async def probe(self) -> Answer:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._connected()
        except _NotLetIn as refused:
            return _answer(refused.heard, started)
        except (OSError, TimeoutError) as error:
            return Answer(silence=_silence(error), took_s=time.perf_counter() - started)
        return Answer(status=200, took_s=time.perf_counter() - started)

    async def exchange(self, outgoing: Outgoing, timeout_s: float, fate: Fate) -> Answer:
        started = time.perf_counter()
        message = self._kept(outgoing)
        line: _Line | None = None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._connected()
                heard = await line.exchange(message, fate)
        except _NotLetIn as refused:
            return _answer(refused.heard, started)
        except (OSError, EOFError, TimeoutError) as error:  # without an answer in time the connection is taken for dead
            if line is not None:
                line.close()
            return Answer(silence=_silence(error), took_s=time.perf_counter() - started)
        if fate in {Fate.CUT, Fate.GONE, Fate.DEAF}:
            line.close()
            return Answer(silence=fate.value, took_s=time.perf_counter() - started)
        if heard.status >= 500:
            line.close()
        if heard.status == 200:
            del self._messages[message.key]
        return _answer(heard, started)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()

    def _kept(self, outgoing: Outgoing) -> Message:
        """Return the message as it was tried before, or a new one."""
        for message in self._messages.values():
            if message.outgoing is outgoing:
                return message
        self._last_key = self._last_key % _KEYS + 1
        while self._last_key in self._messages:
            self._last_key = self._last_key % _KEYS + 1
        message = self._messages[self._last_key] = Message(self._last_key, outgoing)
        return message

    async def _connected(self) -> "_Line":
        async with self._connecting:
            if self._line is not None and self._line.is_open:
                return self._line
            address = self._address
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=address.tls)
            line = _Line(reader, writer, self._conversation, self._messages)
            try:
                opening = await line.greet()
                if opening.status != 200:
                    raise _NotLetIn(opening)
            except BaseException:
                line.close()
                raise
            self._line = line
            return line


class _Line:
    """One connection from its beginning to its end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        conversation: Conversation,
        messages: Mapping[int, Message],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._conversation = conversation
        self._messages = messages
        self._writing = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Heard]] = {}
        self._listening: asyncio.Task[None] | None = None
        self.is_open = True

    async def greet(self) -> Heard:
        """Begin the conversation and return what the server thinks of this client."""
        hello = self._conversation.open()
        self._listening = asyncio.create_task(self._listen())
        return await self._said(OPENING, lambda: hello, Fate.NORMAL)

    async def exchange(self, message: Message, fate: Fate) -> Heard:
        """Send a message and return what is heard of it; for some faults nobody listens."""

        def data() -> bytes:
            whole = self._conversation.message(message)
            message.is_repeated = True
            return whole

        return await self._said(message.key, data, fate)

    async def _said(self, key: int, data: Callable[[], bytes], fate: Fate) -> Heard:
        """Write what `data` returns, whole and in its turn, and wait for what is heard of it."""
        waiting: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        async with self._writing:
            self._waiting[key] = waiting
            await self._put(data(), fate)
        return Heard(key, 0) if fate in {Fate.CUT, Fate.GONE} else await waiting

    async def _put(self, data: bytes, fate: Fate) -> None:
        if not self.is_open:
            raise EOFError("the connection is closed")
        if fate is Fate.CUT:
            data = data[: len(data) // 2]
        if fate is not Fate.SLOW:
            self._writer.write(data)
            await self._writer.drain()
            return
        size = len(data) // _SLOW_PIECES + 1
        for start in range(0, len(data), size):
            self._writer.write(data[start : start + size])
            await self._writer.drain()
            await asyncio.sleep(_SLOW_S / _SLOW_PIECES)

    async def _listen(self) -> None:
        try:
            while data := await self._reader.read(_READ):
                heard, answer = self._conversation.received(data, self._messages)
                for each in heard:
                    self._tell(each)
                if answer:
                    async with self._writing:
                        await self._put(answer, Fate.NORMAL)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self.close()

    def _tell(self, heard: Heard) -> None:
        waiting = self._waiting.pop(heard.key, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(heard)

    def close(self) -> None:
        """End it. Whoever waits hears that."""
        if self.is_open:
            self.is_open = False
            self._writer.close()
            if self._listening is not None:
                self._listening.cancel()
        for key in tuple(self._waiting):
            self._tell(Heard(key, 0, _LOST))


def _silence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return _LOST if isinstance(error, EOFError) else type(error).__name__


def _answer(heard: Heard, started: float) -> Answer:
    took_s = time.perf_counter() - started
    if heard.status:
        return Answer(status=heard.status, name=heard.name, took_s=took_s)
    return Answer(silence=heard.name, took_s=took_s)
