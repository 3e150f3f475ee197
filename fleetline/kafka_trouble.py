"""Why Kafka does not let us in, in one plain line that names the setting to mend: for logs, commands and `doctor`."""

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fleetline.errors import FleetlineError
from fleetline.kafka_security import KafkaSecurity, variable

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

_REPEAT_S = 30.0
_FIRST_ASK_S = 0.25
_HANDSHAKE_S = 2.0

_USER = f"{variable('kafka_sasl_username')}, {variable('kafka_sasl_password')}"
_PROTOCOL = variable("kafka_security_protocol")
_CLIENT = f"{variable('kafka_certificate_file')}, {variable('kafka_key_file')}"
_ALERTS = "certificate required|bad certificate|unknown ca|certificate unknown|certificate expired|handshake failure"
_SAYINGS: Mapping[str, str] = {
    r"(?i)(?:hostname|IP address) mismatch": (
        "the certificate of {at} is for another host ({detail}): connect by a name that is in it, or set "
        f"{variable('kafka_verify_hostname')}=false"
    ),
    r"(?i)certificate has expired": "the certificate of {at} has expired",
    r"(?i)certificate verify failed": (
        f"the certificate of {{at}} is not trusted: {variable('kafka_ca_file')} must name the CA it is from, and it must be "
        "for that host"
    ),
    rf"(?i)alert (?:{_ALERTS})": f"{{at}} demands a client certificate that it trusts: {_CLIENT}",
    r"supported mechanisms: *(?P<known>[\w,\- ]*)|UnsupportedSaslMechanism": (
        f"{{at}} does not take {variable('kafka_sasl_mechanism')}{{known}}"
    ),
    r"(?i)connecting to a PLAINTEXT broker|wrong.version.number|record layer failure": (
        f"{{at}} hung up during the TLS handshake: is TLS spoken there? See {_PROTOCOL}"
    ),
    r"(?i)SASL authentication error|Authentication[ _]failed|invalid credentials|SaslAuthenticationFailed": (
        f"{{at}} refused the user name or password: {_USER}"
    ),
    r"(?i)(?P<what>topic|group|cluster|transactional[ _]?id)[ _]?authorization[ _]?failed": (
        "{at} does not allow this user what it needs of the {what}: see docs/kafka-security.md"
    ),
}
_ADDRESS = r"[\w.\-\[\]:]+:\d+"
_BROKER = re.compile(rf"(?:^|\s)(?:\w+://)?(?P<at>{_ADDRESS})/(?:bootstrap|\d+)\b|connect to \"(?P<to>{_ADDRESS})\"")
_DETAIL = re.compile(r"certificate verify failed: (?P<detail>[^(\"]+?)\.? *\(")


def kafka_trouble(error: object, servers: str = "") -> str:
    """Return what refuses us in plain words, or "" when `error` is of another kind (nobody answers, for one).

    `error` is whatever a client raised or told: KafkaException, KafkaError, an error of aiokafka or of `ssl`, or its text.
    `servers` is named when the error does not say which broker it came from. Nothing of the error's own text is handed on
    but the broker's address, its mechanisms and the names in its certificate.
    """
    text = _text(error)
    for pattern, saying in _SAYINGS.items():
        found = re.search(pattern, text)
        if found is not None:
            broker, detail = _BROKER.search(text), _DETAIL.search(text)
            at = (broker["at"] or broker["to"]) if broker else servers
            groups = found.groupdict()
            return saying.format(
                at=f"Kafka at {at}" if at else "Kafka",
                detail=detail["detail"] if detail else "its names are others",
                known=_known(groups.get("known")),
                what=(groups.get("what") or "").lower().replace("_", " "),
            )
    return ""


def _text(error: object) -> str:
    first: Any = error.args[0] if isinstance(error, Exception) and error.args else error
    if hasattr(first, "str"):
        return f"{first.name()}: {first.str()}"
    return f"{type(error).__name__}: {error}"


def _known(mechanisms: str | None) -> str:
    if mechanisms is None:
        return ""
    known = mechanisms.strip().rstrip(",")
    return f"; it takes {known}" if known else f", nor any password there: {_PROTOCOL} does not fit"


class TroubleLog:
    """Tells each trouble at once, and again every half a minute while it lasts: retries are many. Safe for threads."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, error: Any) -> None:
        """Take an error as librdkafka's `error_cb` does."""
        trouble = kafka_trouble(error)
        if not trouble:
            log.info("kafka: %s", error)
            return
        now = time.monotonic()
        if now - self._told.get(trouble, float("-inf")) >= _REPEAT_S:
            self._told[trouble] = now
            log.error("%s", trouble)


log_trouble = TroubleLog()
"""The `error_cb` of every client that brings none of its own."""


class TroubleHandler(logging.Handler):
    """For the logger of aiokafka, which only logs why it is refused: tells it as the other clients do."""

    tell = log_trouble

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record."""
        if kafka_trouble(record.getMessage()):
            self.tell(record.getMessage())


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
    import socket

    for host, port in _addresses(settings.kafka_bootstrap_servers):
        try:
            socket.create_connection((host, port), _HANDSHAKE_S).close()
        except OSError:
            continue
        protocol = f"{_PROTOCOL}={settings.kafka_security_protocol}"
        return f"Kafka at {host}:{port} takes the connection and gives no answer: does {protocol} fit?"
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
