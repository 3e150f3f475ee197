"""Reaching Kafka for the first time: an answer, or at once why there is none."""

import time
from typing import TYPE_CHECKING, Any

from fleetline.errors import FleetlineError
from fleetline.kafka_security import KafkaSecurity
from fleetline.kafka_trouble import PROTOCOL, kafka_trouble, log_trouble

if TYPE_CHECKING:
    from fleetline.settings import Settings

_FIRST_ASK_S = 0.25
_HANDSHAKE_S = 2.0


class KafkaRefused(FleetlineError):
    """A broker answered and does not let us in: the message says why. It does not pass by waiting, unless a person acts."""


class Listener:
    """Hears why a new client is refused, which librdkafka tells its `error_cb` and nobody else.

    Once the broker has answered, what the client says later is logged.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._refusal = ""
        self._answered = False

    def __call__(self, error: Any) -> None:
        """Take an error as librdkafka's `error_cb` does."""
        if self._answered:
            log_trouble(error)
        self._refusal = self._refusal or kafka_trouble(error, self._settings.kafka_bootstrap_servers)

    def metadata(self, client: Any, timeout_s: float) -> Any:
        """Return what `list_topics` of a client with this `error_cb` returns, within `timeout_s` seconds.

        Raises KafkaRefused as soon as the reason is known, another FleetlineError when nobody answers.
        """
        from confluent_kafka import KafkaException

        deadline, wait = time.monotonic() + timeout_s, _FIRST_ASK_S
        self._refusal = ""
        while True:
            try:
                answer = client.list_topics(timeout=max(0.01, min(wait, deadline - time.monotonic())))
            except KafkaException as error:
                client.poll(0)
                self(error.args[0])
                if self._refusal:
                    raise KafkaRefused(_looked_at_closely(self._settings, self._refusal)) from error
                if time.monotonic() >= deadline:
                    raise _no_kafka(self._settings, error) from error
                wait *= 2  # a refusal comes at once, an answer from another continent does not
            else:
                self._answered = True
                return answer


def reach(settings: "Settings", timeout_s: float = 3.0) -> None:
    """Connect anew. Raises KafkaRefused, or another FleetlineError when nobody answers within `timeout_s` seconds."""
    from confluent_kafka.admin import AdminClient

    listener = Listener(settings)
    admin = AdminClient({**settings.kafka_config(), "log_level": 0, "error_cb": listener})
    listener.metadata(admin, timeout_s)


def why_refused(settings: "Settings", timeout_s: float = 3.0) -> str:
    """Ask the broker anew and return why it refuses us; "" when it does not, or when nobody answers.

    For whoever holds an error that does not say. Blocks for `timeout_s` seconds, and two more when a certificate is looked at.
    """
    try:
        if _listening(settings):
            reach(settings, timeout_s)
    except KafkaRefused as error:
        return error.message
    except FleetlineError:
        return ""
    return ""


def _no_kafka(settings: "Settings", error: Exception) -> FleetlineError:
    return FleetlineError(
        _hung_up(settings)
        or f"no Kafka at {settings.kafka_bootstrap_servers} ({error}); start one with `fleetline up`, "
        "or set KAFKA_BOOTSTRAP_SERVERS"
    )


def _looked_at_closely(settings: "Settings", found: str) -> str:
    """Find out what is wrong with the broker's certificate: librdkafka says only that something is."""
    import ssl

    if "is not trusted" not in found and "handshake" not in found:
        return found
    for host, port in _addresses(settings.kafka_bootstrap_servers):
        try:
            _handshake(settings, host, port)
        except ssl.SSLCertVerificationError as error:
            return kafka_trouble(error, f"{host}:{port}") or found
        except (OSError, ValueError):
            continue
    return found


def _hung_up(settings: "Settings") -> str:
    """Tell a port where somebody listens and hangs up from one where nobody does."""
    listening = _listening(settings)
    protocol = f"{PROTOCOL}={settings.kafka_security_protocol}"
    return listening and f"Kafka at {listening} takes the connection and gives no answer: does {protocol} fit?"


def _listening(settings: "Settings") -> str:
    """Return the first broker whose port takes a connection, or ""."""
    import socket

    for host, port in _addresses(settings.kafka_bootstrap_servers):
        try:
            socket.create_connection((host, port), _HANDSHAKE_S).close()
        except OSError:
            continue
        return f"{host}:{port}"
    return ""


def _handshake(settings: "Settings", host: str, port: int) -> None:
    import socket

    context = KafkaSecurity.of(settings).ssl_context()
    with (
        socket.create_connection((host, port), _HANDSHAKE_S) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        return


def _addresses(servers: str) -> list[tuple[str, int]]:
    found = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition("://")[2].rpartition(":")
        if host and port.isdecimal():
            found.append((host.strip("[]"), int(port)))
    return found
