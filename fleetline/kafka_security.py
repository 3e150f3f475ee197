"""How every Kafka client gets in: TLS, SASL, private CA and client certificate, for librdkafka and for aiokafka (Faust).

The one place for it: `Settings.kafka_config()` and the Faust app take what is made here, so both check the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    from pydantic import SecretStr

    from fleetline.settings import Settings

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def variable(name: str) -> str:
    """Return the environment variable of a setting of this module."""
    return f"FLEETLINE_{name.upper()}"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What a client shows and what it demands. Secrets do not show in `repr`."""

    protocol: str
    mechanism: str
    username: str
    password: "SecretStr"
    ca_file: str
    certificate_file: str
    key_file: str
    key_password: "SecretStr"
    verify_hostname: bool

    @classmethod
    def of(cls, settings: "Settings") -> "KafkaSecurity":
        """Take it from the settings. Reads no file."""
        return cls(
            protocol=settings.kafka_security_protocol,
            mechanism=settings.kafka_sasl_mechanism,
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            ca_file=settings.kafka_ca_file,
            certificate_file=settings.kafka_certificate_file,
            key_file=settings.kafka_key_file,
            key_password=settings.kafka_key_password,
            verify_hostname=settings.kafka_verify_hostname,
        )

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted and the broker's certificate is checked."""
        return self.protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and a password are sent."""
        return self.protocol.startswith("SASL_")

    def check(self) -> None:
        """Raise ValueError, one line that names the variables, when this cannot work; reads the files.

        Nothing may be set in vain: a password or a CA that would quietly not be used is the surest way to talk to a broker
        without protection and not to know it.
        """
        for trouble in self._contradictions():
            raise ValueError(trouble)
        if self.uses_tls:
            self.ssl_context()

    def _contradictions(self) -> Iterator[str]:
        protocol = f"{variable('kafka_security_protocol')} is {self.protocol}"
        if self.uses_sasl:
            yield from self._missing_for_login(protocol)
        else:
            for name in _set_among(
                kafka_sasl_mechanism=self.mechanism,
                kafka_sasl_username=self.username,
                kafka_sasl_password=self.password,
            ):
                yield (
                    f"{variable(name)} is set, but {protocol}, which has no login; set it to SASL_SSL, or to SASL_PLAINTEXT "
                    "where the network is trusted"
                )
        key = {"kafka_key_file": self.key_file, "kafka_key_password": self.key_password}
        if not self.uses_tls:
            tls = {"kafka_ca_file": self.ca_file, "kafka_certificate_file": self.certificate_file, **key}
            for name in _set_among(**tls, kafka_verify_hostname=not self.verify_hostname):
                yield f"{variable(name)} is set, but {protocol}, which is not encrypted; set it to SSL or SASL_SSL"
        elif not self.certificate_file:
            for name in _set_among(**key):
                yield f"{variable(name)} is set, but {variable('kafka_certificate_file')} is not"

    def _missing_for_login(self, protocol: str) -> Iterator[str]:
        mechanism, known = variable("kafka_sasl_mechanism"), ", ".join(MECHANISMS)
        if not self.mechanism:
            yield f"{protocol}, so {mechanism} must be set: {known}"
        if self.mechanism not in MECHANISMS:
            yield f"{mechanism} is {self.mechanism!r}; it can be {known}"
        if not self.username:
            yield f"{protocol}, so {variable('kafka_sasl_username')} must be set"
        if not self.password.get_secret_value():
            name = variable("kafka_sasl_password")
            yield f"{protocol}, so {name} must be set, or {name}_FILE to the name of a file it is in"

    def librdkafka(self) -> dict[str, str]:
        """Return the part of a librdkafka client's configuration that is about security. Holds secrets: never print it."""
        config = {"security.protocol": self.protocol}
        if self.uses_sasl:
            config["sasl.mechanism"] = self.mechanism
            config["sasl.username"] = self.username
            config["sasl.password"] = self.password.get_secret_value()
        if self.uses_tls:
            config["ssl.endpoint.identification.algorithm"] = "https" if self.verify_hostname else "none"
            if self.ca_file:
                config["ssl.ca.location"] = self.ca_file
            if self.certificate_file:
                config["ssl.certificate.location"] = self.certificate_file
                config["ssl.key.location"] = self.key_file or self.certificate_file
                if self.key_password.get_secret_value():
                    config["ssl.key.password"] = self.key_password.get_secret_value()
        return config

    def faust_credentials(self) -> Any:
        """Return what Faust hands to aiokafka, for its consumers and producers; None where there is no security."""
        import faust

        if self.uses_sasl:
            return faust.SASLCredentials(
                mechanism=self.mechanism,
                username=self.username,
                password=self.password.get_secret_value(),
                ssl_context=self.ssl_context() if self.uses_tls else None,
            )
        return faust.SSLCredentials(self.ssl_context()) if self.uses_tls else None

    def ssl_context(self) -> "ssl.SSLContext":
        """Return a context that demands what librdkafka demands: the same CA, host name rule and client certificate.

        Raises ValueError that names the variable when a file cannot be read or does not fit.
        """
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the chain and the host name, TLS 1.2 at least
        context.check_hostname = self.verify_hostname
        if self.ca_file:
            _readable("kafka_ca_file", self.ca_file)
            try:
                context.load_verify_locations(self.ca_file)
            except ssl.SSLError:
                raise ValueError(f"{variable('kafka_ca_file')}: {self.ca_file} holds no certificate in PEM") from None
        else:
            context.load_default_certs()
        if self.certificate_file:
            self._load_certificate(context)
        return context

    def _load_certificate(self, context: "ssl.SSLContext") -> None:
        import ssl

        _readable("kafka_certificate_file", self.certificate_file)
        if self.key_file:
            _readable("kafka_key_file", self.key_file)
        asked: list[bool] = []

        def password() -> str:  # without one, OpenSSL would ask the terminal
            asked.append(True)
            return self.key_password.get_secret_value()

        try:
            context.load_cert_chain(self.certificate_file, self.key_file or None, password)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(self._why_not_loaded(error, locked=bool(asked))) from None

    def _why_not_loaded(self, error: Exception, *, locked: bool) -> str:
        key = variable("kafka_key_file" if self.key_file else "kafka_certificate_file")
        file = self.key_file or self.certificate_file
        if "KEY_VALUES_MISMATCH" in str(error):
            return f"{key}: the key in {file} is not that of the certificate in {self.certificate_file}"
        if locked:
            name = variable("kafka_key_password")
            wrong = f"{name} does not open it" if self.key_password.get_secret_value() else f"{name} must be set"
            return f"{key}: the key in {file} has a password: {wrong}"
        return (
            f"{variable('kafka_certificate_file')}: no certificate in {self.certificate_file} with its private key in {file}, "
            "both in PEM"
        )


def _set_among(**values: Any) -> Iterator[str]:
    """Yield the names of those that are not empty."""
    for name, value in values.items():
        if value if not hasattr(value, "get_secret_value") else value.get_secret_value():
            yield name


def _readable(name: str, file: str) -> None:
    try:
        with Path(file).open("rb"):
            return
    except OSError as error:
        raise ValueError(f"{variable(name)}: cannot read {file}: {error.strerror}") from None
