"""A real broker that lets nobody in without a password or a certificate, under a certificate authority of its own."""

import datetime as dt
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings

KEY_PASSWORD = "the-key-s-own-pass-phrase"


class Authority:
    """A private certificate authority that writes PEM files into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = _dated(self._name, self._name, self._key.public_key()).add_extension(usage, critical=True)
        self._certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.file = self._write(f"{name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, host: str = "", password: str = "") -> tuple[Path, Path]:
        """Issue a certificate and return the files of the certificate and of its key; with a host it is a server's."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _dated(_named(name), self._name, key.public_key())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if host else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if host:
            alternative: x509.GeneralName
            try:
                alternative = x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                alternative = x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        locked: Any = serialization.NoEncryption()
        if password:
            locked = serialization.BestAvailableEncryption(password.encode())
        pem = serialization.Encoding.PEM
        key_file = self._write(f"{name}.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
        return self._write(f"{name}.crt", certificate.public_bytes(pem)), key_file

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _dated(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


@dataclass(frozen=True)
class SecuredBroker:
    """A running broker and what reaches it."""

    plain: Settings
    """Through the listener that asks for nothing: for looking at what arrived, and for administration."""
    authority: Authority
    folder: Path
    ports: Mapping[str, int]

    def over(self, listener: str, base: Settings, **update: Any) -> Settings:
        """Return `base` by one of the listeners, checked as a start from the environment is."""
        given = {
            **base.model_dump(include=base.model_fields_set | set(_OF_TESTS)),
            "kafka_bootstrap_servers": f"127.0.0.1:{self.ports[listener]}",
            "kafka_security_protocol": LISTENERS[listener],
            "kafka_ca_file": str(self.authority.file),
            **update,
        }
        return Settings(**given)


LISTENERS = {"sasl": "SASL_SSL", "mtls": "SSL", "misnamed": "SASL_SSL"}
_OF_TESTS = (
    "data_dir",
    "topic_prefix",
    "clickhouse_url",
    "partitions",
    "kafka_session_timeout_ms",
    "delivery_allow_networks",
)


def security_environment(settings: Settings) -> dict[str, str]:
    """Return the security settings as a component's environment; the password comes from a file, as it would be mounted."""
    password = settings.data_dir / "mounted" / (settings.kafka_sasl_username or "nobody")
    password.parent.mkdir(parents=True, exist_ok=True)
    password.write_text(f"{settings.kafka_sasl_password.get_secret_value()}\n", encoding="utf-8")
    given = {
        "SECURITY_PROTOCOL": settings.kafka_security_protocol,
        "SASL_MECHANISM": settings.kafka_sasl_mechanism,
        "SASL_USERNAME": settings.kafka_sasl_username,
        "SASL_PASSWORD_FILE": str(password) if settings.kafka_sasl_username else "",
        "CA_FILE": settings.kafka_ca_file,
        "CERTIFICATE_FILE": settings.kafka_certificate_file,
        "KEY_FILE": settings.kafka_key_file,
        "KEY_PASSWORD": settings.kafka_key_password.get_secret_value(),
    }
    return {f"FLEETLINE_KAFKA_{name}": value for name, value in given.items()}


@contextmanager
def secured_broker(base: Settings, users: Mapping[str, str], **more: str) -> Iterator[SecuredBroker]:
    """Run a broker with the listeners `sasl` (SASL_SSL: PLAIN and SCRAM), `mtls` (SSL, client certificate demanded) and
    `misnamed` (SSL, with a certificate for another host). `users` have SCRAM passwords and the same ones for PLAIN."""
    folder = base.data_dir / "secured"
    authority = Authority(folder / "ca", "fleet-ca")
    ports = {name: free_port() for name in LISTENERS}
    settings = base.model_copy(update={"data_dir": folder, "kafka_port": free_port()})
    plain_users = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    jaas = "org.apache.kafka.common.security"
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(_keystore(folder / "broker.pem", *authority.issue("broker", host="127.0.0.1"))),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.misnamed.ssl.keystore.location": str(
            _keystore(folder / "misnamed.pem", *authority.issue("misnamed", host="kafka.example.com"))
        ),
        "listener.name.misnamed.ssl.keystore.type": "PEM",
        **{f"listener.name.{name}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" for name in ("sasl", "misnamed")},
        **{
            f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;"
            for name in ("sasl", "misnamed")
            for bits in (256, 512)
        },
        **{
            f"listener.name.{name}.plain.sasl.jaas.config": f"{jaas}.plain.PlainLoginModule required {plain_users};"
            for name in ("sasl", "misnamed")
        },
        **more,
    }  # fmt: skip
    scram = [
        f"--add-scram=SCRAM-SHA-{bits}=[name={name},password={password},iterations=4096]"
        for name, password in users.items()
        for bits in (256, 512)
    ]
    broker = LocalKafka(
        settings,
        listeners={name.upper(): (protocol, ports[name]) for name, protocol in LISTENERS.items()},
        properties=properties,
        format_options=scram,
    )
    try:
        broker.start()
        broker.wait_ready()
        plain = settings.model_copy(update={"kafka_bootstrap_servers": broker.bootstrap_servers})
        yield SecuredBroker(plain, authority, folder, ports)
    finally:
        broker.stop()


def _keystore(path: Path, certificate: Path, key: Path) -> Path:
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    return path
