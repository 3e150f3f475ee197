"""Why Kafka does not let us in, in one plain line that names the setting to mend: for logs, commands and `doctor`."""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from fleetline.kafka_security import variable

log = logging.getLogger(__name__)

_REPEAT_S = 30.0

_USER = f"{variable('kafka_sasl_username')}, {variable('kafka_sasl_password')}"
PROTOCOL = variable("kafka_security_protocol")
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
        f"{{at}} hung up during the TLS handshake: is TLS spoken there? See {PROTOCOL}"
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
    return f"; it takes {known}" if known else f", nor any password there: {PROTOCOL} does not fit"


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
