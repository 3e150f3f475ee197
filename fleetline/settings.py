"""Every setting, read once from the environment and passed down frozen.

Names are the environment variables: `FLEETLINE_<FIELD>`, except the ones the whole field knows
(`KAFKA_BOOTSTRAP_SERVERS`, `CLICKHOUSE_URL`, `INTEGRATION_WEBHOOK_SECRET`, `PUBLIC_API_BASE_URL`).
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fleetline.kafka_security import KafkaSecurity
from fleetline.kafka_trouble import log_trouble
from fleetline.secret_files import SecretFiles
from schemas.topics import DEFAULT_PREFIX, Topics

MIB = 1024 * 1024
DOORS = ("ingress", "mqtt", "websocket", "admin")
"""Components that somebody connects to: senders, and whoever manages the registry. `<name>_port` is where each listens."""


def _known_as(name: str) -> Any:
    field = name.lower()
    return AliasChoices(name, f"FLEETLINE_{name}", field)


class Settings(BaseSettings):
    """What a component needs to know. Frozen; secrets show neither in `repr` nor in errors."""

    model_config = SettingsConfigDict(
        env_prefix="FLEETLINE_", frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(Path(".fleetline"), validation_alias=AliasChoices("FLEETLINE_DATA", "data_dir"))
    """State of the local stack; of the doors the spool and what they refused; the key that seals destinations' secrets."""

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias=_known_as("KAFKA_BOOTSTRAP_SERVERS"))
    """`host:port`, several with commas."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How every component talks to the brokers: see [Kafka security](kafka-security.md)."""
    kafka_sasl_mechanism: str = ""
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`. With SASL only."""
    kafka_sasl_username: str = ""
    """With SASL only."""
    kafka_sasl_password: SecretStr = SecretStr("")
    """With SASL only."""
    kafka_ca_file: str = ""
    """CA certificates (PEM) the brokers' are checked with. Empty: the system's. With TLS only."""
    kafka_certificate_file: str = ""
    """Certificate chain (PEM) the brokers know this client by (mutual TLS). With TLS only."""
    kafka_key_file: str = ""
    """Its private key (PEM), when it is not in the same file."""
    kafka_key_password: SecretStr = SecretStr("")
    """Opens the private key, when it is encrypted."""
    kafka_verify_hostname: bool = True
    """Whether a broker's certificate must name the host it is reached at. Else any server of that CA can pose as one."""
    kafka_session_timeout_ms: int = 10_000
    """How long a silent consumer keeps its partitions. Shorter takes over sooner and tolerates less of a pause."""
    topic_prefix: str = DEFAULT_PREFIX
    """Every topic's name begins with it. Installations that share a cluster need different ones."""
    partitions: int = 4
    """Of each topic that is made (compacted ones have one). Existing topics are left as they are."""
    replication_factor: int = 1
    """Of each topic that is made: 3 in production. How many replicas must have a record is the brokers' `min.insync.replicas`."""
    retention_hours: int = 7 * 24
    """How long Kafka keeps records, and so how far back a replay can begin. For topics that are made."""
    max_body_bytes: int = 8 * MIB
    """Largest body after decompression; broker and client limits follow it."""

    max_in_flight_bytes: int = 192 * MIB
    """What may wait for the broker in one process. From half of it on, senders that come again are told 503."""
    spool_max_bytes: int = 1024 * MIB
    """Room below the data directory for bodies of senders that never send again, while Kafka is away; 0 switches it off."""
    rate_limit_credential: float = Field(1_000, ge=0)
    """Requests per second of one credential and process; 0 is no limit."""
    rate_limit_tenant: float = Field(5_000, ge=0)
    """Requests per second of one tenant and process; 0 is no limit."""
    rate_limit_credit_s: float = Field(600, ge=0)
    """How many seconds of silence may be made up for at once: a fleet that was out of reach delivers late data in a burst."""

    auto_register_limit: int = Field(10_000, ge=0)
    """Devices that auto-registration makes for one tenant and day (UTC) at most; what comes beyond waits in `unmapped`."""

    clickhouse_url: str = Field("http://127.0.0.1:8123", validation_alias=_known_as("CLICKHOUSE_URL"), repr=False)
    """`http[s]://[user[:password]@]host[:port][/database]`."""

    host: str = "127.0.0.1"
    """Address the servers of this machine listen on; 0.0.0.0 in containers."""
    kafka_port: int = 9092
    """Of the local stack's broker."""
    clickhouse_port: int = 8123
    """Of the local stack's ClickHouse."""
    ingress_port: int = 8080
    """HTTP: senders, `/healthz`, `/readyz` and `/metrics`."""
    admin_port: int = 8081
    """The admin API, its OpenAPI document, and `/healthz`, `/readyz` and `/metrics`."""
    admin_token: SecretStr = SecretStr("")
    """An operator's key for the admin API beside those of the registry: the way in while there are none. Empty: off."""
    websocket_port: int = 8082
    """Devices' WebSockets, and `/healthz`, `/readyz` and `/metrics`."""
    websocket_max_connections: int = 10_000
    """Devices of one process; more are turned away with 503."""
    mqtt_port: int = 1883
    """MQTT; 8883 by convention when `tls_certificate` is set."""
    mqtt_max_connections: int = 20_000
    """Clients of one process; more are turned away. Each needs an open file."""
    probe_port: int = 0
    """Where a component without an HTTP door of its own (`mqtt`, a pull connector) answers `/healthz`, `/readyz` and `/metrics`;
    0: nowhere."""
    tls_certificate: Path | None = None
    """Certificate chain (PEM) of the servers that devices talk to. With it they speak TLS only; private CAs are fine."""
    tls_key: Path | None = None
    """Its private key (PEM), when it is not in the same file."""
    https_only: frozenset[str] = frozenset()
    """Sources that are refused over plain http."""
    public_api_base_url: str = Field(
        "", validation_alias=_known_as("PUBLIC_API_BASE_URL"), pattern=r"^(https?://[^\s/?#]+[^\s?#]*)?$"
    )
    """Where senders reach the ingress from outside, e.g. `https://fleet.example.com`: every URL that is shown begins with it."""
    public_mqtt_url: str = Field("", pattern=r"^(mqtts?://[^\s/?#]+)?$")
    """Where devices reach MQTT from outside, e.g. `mqtts://mqtt.example.com:8883`. Empty: the host of `public_api_base_url`, and
    `mqtt_port`."""
    public_websocket_url: str = Field("", pattern=r"^(wss?://[^\s/?#]+[^\s?#]*)?$")
    """Where devices reach the WebSocket from outside, e.g. `wss://ws.example.com`. Empty: the host of `public_api_base_url`,
    and `websocket_port`."""
    path_map: dict[str, str] = {}
    """More ingest paths, path to source: `{"/": "autopi"}`. A tracker's URL field is what it is."""
    integration_webhook_secret: SecretStr = Field(
        SecretStr(""), validation_alias=_known_as("INTEGRATION_WEBHOOK_SECRET")
    )
    """Opens `generic`, `chirpstack` and `ttn` for whichever tenant `tenantId` names. Empty: only tenants' own secrets do."""

    secret_key: SecretStr = SecretStr("")
    """Seals the secrets of destinations, the same for every component. Empty: a key file in the data directory."""

    delivery_allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that webhooks may be sent to. By default none: a destination must be a public address."""

    def door_ports(self) -> dict[str, int]:
        """Return where each component that listens does so."""
        return {name: getattr(self, f"{name}_port") for name in DOORS}

    @property
    def topics(self) -> Topics:
        """Topic names under this installation's prefix."""
        return Topics(self.topic_prefix)

    def kafka_config(self) -> dict[str, Any]:
        """Return what every librdkafka client needs to reach the broker: the one place for its security settings.

        Holds secrets: never print it. What refuses us is logged in plain words by clients without an `error_cb` of their own.
        """
        return {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            **KafkaSecurity.of(self).librdkafka(),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "message.max.bytes": self.kafka_message_max_bytes,
            "error_cb": log_trouble,
        }

    @property
    def kafka_message_max_bytes(self) -> int:
        """Room for the largest body, its headers and a poor compression."""
        return self.max_body_bytes + MIB

    @model_validator(mode="after")
    def _kafka_security(self) -> Self:
        KafkaSecurity.of(self).check()
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, and secrets from the files that `<VARIABLE>_FILE` names."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SecretFiles(settings_cls)
