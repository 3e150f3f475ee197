"""A real broker that demands passwords, certificates and permissions: the whole road over it, and what a refusal says."""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from click.testing import CliRunner
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import SecretStr

from fleetline.cli import main
from fleetline.errors import FleetlineError
from fleetline.kafka_acls import EVERY_COMPONENT, SETUP, grants
from fleetline.kafka_admin import ensure_topics
from fleetline.kafka_reach import why_refused
from fleetline.kafka_security import KafkaSecurity
from fleetline.kafka_trouble import TroubleHandler, TroubleLog
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from fleetline.simulator.settled import Road
from fleetline.tailing import follow_topic
from fleetline.unmapped import waiting_senders
from ingress.producer import KafkaProducer
from ingress.pulling_topics import TopicReader, last_value
from registry.follower import RegistryFollower
from registry.model import Destination
from registry.store import RegistryStore
from registry.view import RegistryView
from tests.ingress.test_durable import post
from tests.secured_broker import KEY_PASSWORD, Authority, SecuredBroker, secured_broker, security_environment
from tests.support import TENANT, child, environment, raw, read_all, register, running, until

pytestmark = pytest.mark.stack

USERS = {name: f"pass-phrase-of-{name}" for name in (SETUP, *EVERY_COMPONENT, "commands")}
CLIENT = "fleet-client"
DOORS = ("ingress", "processors", "clickhouse", "delivery")
SECRETS = (*USERS.values(), KEY_PASSWORD, "never-the-one")


@pytest.fixture(scope="module")
def broker(stack: Settings) -> Iterator[SecuredBroker]:
    """Run the broker. Whoever is not named here, or granted something by a test, may do nothing."""
    with secured_broker(
        stack,
        USERS,
        **{
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:CN={CLIENT}",
        },
    ) as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def certificate(broker: SecuredBroker) -> dict[str, Any]:
    """Return settings that show a client certificate, whose key is encrypted."""
    file, key = broker.authority.issue(CLIENT, password=KEY_PASSWORD)
    return {
        "kafka_certificate_file": str(file),
        "kafka_key_file": str(key),
        "kafka_key_password": SecretStr(KEY_PASSWORD),
    }


def login(user: str, mechanism: str = "SCRAM-SHA-512", password: str = "") -> dict[str, Any]:
    return {
        "kafka_sasl_mechanism": mechanism,
        "kafka_sasl_username": user,
        "kafka_sasl_password": SecretStr(password or USERS.get(user, "never-the-one")),
    }


def grant(broker: SecuredBroker, settings: Settings, user: str) -> None:
    """Give a user what the documentation says its component needs, and nothing else."""
    from confluent_kafka.admin import (
        AclBinding,
        AclOperation,
        AclPermissionType,
        AdminClient,
        ResourcePatternType,
        ResourceType,
    )

    kinds = {"Topic": "TOPIC", "Group": "GROUP", "TransactionalId": "TRANSACTIONAL_ID"}
    bindings = [
        AclBinding(
            ResourceType[kinds[each.kind]],
            each.name,
            ResourcePatternType.PREFIXED if each.is_prefix else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[each.operation.upper()],
            AclPermissionType.ALLOW,
        )
        for each in grants(settings, user)
    ]
    admin = AdminClient(broker.plain.kafka_config())  # the futures die with it
    for made in admin.create_acls(bindings).values():
        made.result(10)


@contextmanager
def customer() -> Iterator[tuple[str, list[bytes]]]:
    """Run a customer's server; yields its address and the bodies it gets."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def component(settings: Settings, name: str, **environment: str) -> Child:
    """Make `fleetline serve NAME` with the security settings in its environment."""
    made = child(settings, name, "-m", "fleetline", "-v", "serve", name)
    made._environment |= {
        **security_environment(settings),
        "FLEETLINE_DELIVERY_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        **environment,
    }
    return made


def logs(settings: Settings) -> str:
    return "\n".join(each.read_text("utf-8", "replace") for each in (settings.data_dir / "logs").glob("*.log"))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sasl", "mtls"])
def test_the_whole_road_works_with_exactly_what_is_documented(
    broker: SecuredBroker, certificate: dict[str, Any], settings: Settings, way: str
) -> None:
    """SASL_SSL with a private CA: every component as a user of its own that may do what the table says. And mutual TLS."""

    def of(user: str) -> Settings:
        if way == "mtls":
            return broker.over(way, settings, **certificate)
        grant(broker, settings, user)
        return broker.over(way, settings, **login(user))

    plain = settings.model_copy(update={"kafka_bootstrap_servers": broker.plain.kafka_bootstrap_servers})
    assert plain.topics.raw("flespi") in ensure_topics(of(SETUP))
    users = {"ingress": "doors"}
    admin, ports = of("admin"), {"FLEETLINE_INGRESS_PORT": str(free_port())}
    with ExitStack() as closing:
        url, bodies = closing.enter_context(customer())
        follower = RegistryFollower(of("doors"))
        closing.callback(follower.stop)
        follower.start()
        register(admin, 1)
        with RegistryStore(admin) as store:
            store.put(Destination(id="d1", tenant_id=TENANT, kind="webhook", url=url))
            _, secret = store.create_credential(TENANT, "flespi")
        until(lambda: follower.view.tenant(TENANT), 10, "the registry is followed")
        parts = {name: component(of(users.get(name, name)), name, **ports) for name in DOORS}
        for part in parts.values():
            closing.enter_context(running(part))
        door = settings.model_copy(update={"ingress_port": int(ports["FLEETLINE_INGRESS_PORT"])})
        for number, ignition in enumerate((False, True)):
            body = raw(number, 0, ignition)[1]
            until(lambda body=body: post(door, secret, body)[0] == 200, 40, parts["ingress"].log_tail(5))  # type: ignore[misc]
        until(lambda: bodies, 40, logs(settings))
        assert b"ignitionOn" in bodies[0]
        until(lambda: loaded(settings, "telemetry") >= 2 and loaded(settings, "deliveries") >= 1, 30, logs(settings))
        assert all(part.is_running for part in parts.values())
    assert len(read_all(plain, plain.topics.telemetry)) >= 2
    look_at_it(of("commands"))
    pull_from_it(of("pull"))
    said = logs(settings)
    assert "authorization" not in said.lower(), said
    assert not [secret for secret in SECRETS if secret in said]


def look_at_it(settings: Settings) -> None:
    """Do what the commands that only read do."""
    view = RegistryView()
    assert len(list(follow_topic(settings, "telemetry", None, follow=False))) >= 2
    assert waiting_senders(settings, view) == []
    road = Road(settings, ("flespi",))
    try:
        until(road.is_gone_through, 10, "what the components have committed")
    finally:
        road.close()


def pull_from_it(settings: Settings) -> None:
    """Do what a pull connector does: read back the raw topic, write to it, and save how far it came."""

    async def pull() -> list[int]:
        producer = KafkaProducer(settings)
        await producer.start()
        await producer.append(settings.topics.pulls, b"flespi/c", b"{}", [])
        await producer.append(settings.topics.raw("flespi"), *raw(2, 0))
        await producer.stop()
        reader = TopicReader(settings, settings.topics.raw("flespi"))
        try:
            return [len(batch) async for batch in reader.batches(0)]
        finally:
            reader.close()

    assert sum(asyncio.run(pull())) >= 3
    assert asyncio.run(last_value(settings, settings.topics.pulls, b"flespi/c")) == b"{}"


def loaded(settings: Settings, table: str) -> int:
    """Count the rows of a table; 0 while there is none."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from sinks.clickhouse.connection import connect

    try:
        with connect(settings) as client:
            return int(str(client.command(f"SELECT count() FROM {table}")))
    except ClickHouseError:
        return 0


# --- what a refusal says ------------------------------------------------------------------------------------------------

NAME_OR_PASSWORD = "refused the user name or password: FLEETLINE_KAFKA_SASL_USERNAME, FLEETLINE_KAFKA_SASL_PASSWORD"
NOT_TRUSTED = "is not trusted: FLEETLINE_KAFKA_CA_FILE must name the CA it is from"
CERTIFICATE_DEMANDED = "demands a client certificate that it trusts: FLEETLINE_KAFKA_CERTIFICATE_FILE"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return settings with the CA, and with a client certificate, that the broker knows nothing of."""
    authority = Authority(tmp_path_factory.mktemp("foreign"), "foreign-ca")
    file, key = authority.issue(CLIENT)
    return {
        "ca": {"kafka_ca_file": str(authority.file)},
        "certificate": {"kafka_certificate_file": str(file), "kafka_key_file": str(key)},
    }


def refused(broker: SecuredBroker, foreign: dict[str, Any], settings: Settings, how: str) -> tuple[Settings, str]:
    """Return settings the broker refuses, and what is to be said of it."""

    def over(listener: str, **update: Any) -> Settings:
        return broker.over(listener, settings, **update)

    none: dict[str, Any] = {"kafka_security_protocol": "PLAINTEXT", "kafka_ca_file": ""}
    plain_port = {"kafka_bootstrap_servers": broker.plain.kafka_bootstrap_servers}
    return {
        "wrong password, SCRAM": (over("sasl", **login("admin", password="never-the-one")), NAME_OR_PASSWORD),
        "wrong password, PLAIN": (over("sasl", **login("admin", "PLAIN", "never-the-one")), NAME_OR_PASSWORD),
        "unknown user": (over("sasl", **login("nobody", "SCRAM-SHA-256")), NAME_OR_PASSWORD),
        "wrong CA": (over("sasl", **login("admin"), **foreign["ca"]), NOT_TRUSTED),
        "another host": (over("misnamed", **login("admin")), "is for another host (IP address mismatch"),
        "no client certificate": (over("mtls"), CERTIFICATE_DEMANDED),
        "foreign client certificate": (over("mtls", **foreign["certificate"]), CERTIFICATE_DEMANDED),
        "password where a certificate is demanded": (
            over("mtls", kafka_security_protocol="SASL_SSL", **login("admin")),
            CERTIFICATE_DEMANDED,
        ),
        "no login where one is demanded": (over("sasl", kafka_security_protocol="SSL"), "SECURITY_PROTOCOL=SSL fit?"),
        "plain text to TLS": (over("sasl", **none), "FLEETLINE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT fit?"),
        "TLS to plain text": (over("mtls", **plain_port), "hung up during the TLS handshake"),
    }[how]


HOW = (
    "wrong password, SCRAM", "wrong password, PLAIN", "unknown user", "wrong CA", "another host", "no client certificate",
    "foreign client certificate", "password where a certificate is demanded", "no login where one is demanded",
    "plain text to TLS", "TLS to plain text",
)  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_a_command_that_is_refused_says_why_in_one_line_and_ends(
    broker: SecuredBroker, foreign: dict[str, Any], settings: Settings, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong, said = refused(broker, foreign, settings, how)
    started = time.monotonic()
    with pytest.raises(FleetlineError) as caught:
        ensure_topics(wrong, timeout_s=1.0)
    assert time.monotonic() - started < 8
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    written = caught.value.message + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in written]


def test_a_user_who_may_not_make_what_is_missing_is_told_so(broker: SecuredBroker, settings: Settings) -> None:
    with pytest.raises(
        FleetlineError, match=r"does not allow this user what it needs of the topic: see docs/kafka-sec"
    ):
        ensure_topics(broker.over("sasl", settings, **login("commands")))


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # aiokafka leaves the transport of a refused connection to the collector
@pytest.mark.parametrize("how", ["wrong password, SCRAM", "wrong password, PLAIN", "wrong CA", "another host"])
async def test_the_client_of_faust_is_refused_alike_and_says_the_same(
    broker: SecuredBroker, foreign: dict[str, Any], settings: Settings, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, said = refused(broker, foreign, settings, how)
    told, handler = TroubleLog(), TroubleHandler()
    handler.tell = told
    logger = logging.getLogger("aiokafka")
    logger.addHandler(handler)
    client = AIOKafkaProducer(
        bootstrap_servers=wrong.kafka_bootstrap_servers,
        **credentials_to_aiokafka_auth(KafkaSecurity.of(wrong).faust_credentials()),
    )
    try:
        with pytest.raises(KafkaConnectionError):
            await client.start()
    finally:
        await client.stop()
        logger.removeHandler(handler)
        del client
        gc.collect()
    lines = [record.getMessage() for record in caplog.records if record.name == "fleetline.kafka_trouble"]
    assert any(said in line for line in lines), caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_mechanism_lets_in(broker: SecuredBroker, settings: Settings, mechanism: str) -> None:
    assert why_refused(broker.over("sasl", settings, **login("admin", mechanism))) == ""


def test_a_broker_under_another_name_is_taken_when_the_check_is_switched_off(
    broker: SecuredBroker, settings: Settings
) -> None:
    assert why_refused(broker.over("misnamed", settings, **login("admin"), kafka_verify_hostname=False)) == ""


def test_a_component_that_is_refused_says_why_and_stops_when_told(broker: SecuredBroker, settings: Settings) -> None:
    wrong = broker.over("sasl", settings, **login("processors", password="never-the-one"))
    with running(component(wrong, "processors")) as process:
        until(lambda: NAME_OR_PASSWORD in logs(settings), 20, "the log of the component")
        assert process.is_running, "it waits for the password to become known"
        process.stop(3)
    said = logs(settings)
    assert "Traceback" not in said
    assert not [secret for secret in SECRETS if secret in said]


@pytest.mark.parametrize("command", [["tail", "telemetry"], ["tenant", "list"], ["doctor"]])
def test_commands_name_what_is_wrong(
    broker: SecuredBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    wrong = broker.over("sasl", settings, **login("commands", password="never-the-one"))
    for name, value in {**environment(settings), **security_environment(wrong)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", wrong.kafka_bootstrap_servers)
    monkeypatch.setenv("COLUMNS", "400")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1, done.output
    assert NAME_OR_PASSWORD in done.output
    assert not [secret for secret in SECRETS if secret in done.output]
