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
_ASK_S = 0.25
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
        f"{{at}} does not speak TLS there: {_PROTOCOL} does not fit"
    ),
    r"(?i)SASL authentication error|Authentication failed|invalid credentials|SaslAuthenticationFailed": (
        f"{{at}} refused the user name or password: {_USER}"
    ),
    r"(?i)(?P<what>topic|group|cluster|transactional ?id)[ _]?authorization[ _]?failed": (
        "{at} does not allow this user what it needs of the {what}: see docs/kafka-security.md"
    ),
}
_BROKER = re.compile(r"(?:^|[\s\"'(])(?:\w+://)?(?P<at>[\w.\-\[\]:]+:\d+)/(?:bootstrap|\d+)\b")
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
            at = broker["at"] if broker else servers
            groups = found.groupdict()
            return saying.format(
                at=f"Kafka at {at}" if at else "Kafka",
                detail=detail["detail"] if detail else "its names are others",
                known=_known(groups.get("known")),
                what=(groups.get("what") or "").lower(),
            )
    return ""


def _text(error: object) -> str:
    first = error.args[0] if isinstance(error, Exception) and error.args else error
    said = first.str() if hasattr(first, "str") else f"{type(error).__name__}: {error}"
    return str(said)


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


def why_refused(settings: "Settings", timeout_s: float = 3.0) -> str:
    """Ask the broker anew and return why it does not let us in; "" when it does, or when nobody answers.

    Blocks for `timeout_s` seconds at most, and for a second more when a certificate is to be looked at.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    heard: list[str] = []
    servers = settings.kafka_bootstrap_servers
    config = {**settings.kafka_config(), "log_level": 0}
    admin = AdminClient({**config, "error_cb": lambda error: heard.append(kafka_trouble(error, servers))})
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            admin.list_topics(timeout=_ASK_S)
        except KafkaException as error:
            admin.poll(0)
            found = next(filter(None, [*heard, kafka_trouble(error, servers)]), "")
            if found:
                return _looked_at_closely(settings, found)
        else:
            break
    return ""


def no_kafka(settings: "Settings", error: object = "", refusal: str | None = None) -> FleetlineError:
    """Return what a command that got no answer ends with: why Kafka refuses us, or that nobody is there.

    Asks the broker once more to find out, unless `refusal` brings the answer of `why_refused`.
    """
    refusal = why_refused(settings) if refusal is None else refusal
    if refusal:
        return FleetlineError(refusal)
    hint = _hung_up(settings)
    if hint:
        return FleetlineError(hint)
    said = f" ({_text(error)})" if error else ""
    return FleetlineError(
        f"no Kafka at {settings.kafka_bootstrap_servers}{said}; start one with `fleetline up`, or set KAFKA_BOOTSTRAP_SERVERS"
    )


def _looked_at_closely(settings: "Settings", found: str) -> str:
    """Find out what is wrong with the broker's certificate: librdkafka says only that something is."""
    import ssl

    if "is not trusted" not in found:
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
