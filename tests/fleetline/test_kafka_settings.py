"""What a wrong Kafka setting is told as, what clients are given, and that every client is given it."""

import ast
import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from fleetline.document import page, security_page
from fleetline.errors import FleetlineError
from fleetline.kafka_acls import access
from fleetline.kafka_security import MECHANISMS, KafkaSecurity
from fleetline.kafka_trouble import TroubleLog, kafka_trouble
from fleetline.local.stack import Stack
from fleetline.local_settings import is_set, settings_of_environment
from fleetline.settings import Settings
from tests.secured_broker import KEY_PASSWORD, Authority

ROOT = Path(__file__).parents[2]
PASSWORD = "Kf-pass-phrase-1"
PROTOCOL, MECHANISM, USER = "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME"
SECRET, SECRET_FILE = "KAFKA_SASL_PASSWORD", "KAFKA_SASL_PASSWORD_FILE"
CA, CERT, KEY, OPENER = "KAFKA_CA_FILE", "KAFKA_CERTIFICATE_FILE", "KAFKA_KEY_FILE", "KAFKA_KEY_PASSWORD"
VERIFY = "KAFKA_VERIFY_HOSTNAME"
LOGIN = {PROTOCOL: "SASL_SSL", MECHANISM: "SCRAM-SHA-512", USER: "fleetline", SECRET: PASSWORD}
TLS = {PROTOCOL: "SSL"}
LOCKED = {**TLS, CERT: "<locked cert>", KEY: "<locked key>"}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make certificates; the names are used in the settings below."""
    folder = tmp_path_factory.mktemp("pem")
    authority = Authority(folder, "ca")
    certificate, key = authority.issue("client")
    locked_certificate, locked_key = authority.issue("locked", password=KEY_PASSWORD)
    (folder / "text.pem").write_text("no certificate", encoding="utf-8")
    return {
        "<ca>": str(authority.file),
        "<cert>": str(certificate),
        "<key>": str(key),
        "<locked cert>": str(locked_certificate),
        "<locked key>": str(locked_key),
        "<text>": str(folder / "text.pem"),
        "<none>": str(folder / "none.pem"),
    }


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("FLEETLINE_KAFKA", "KAFKA_")):
            monkeypatch.delenv(name)


def told(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], pem: dict[str, str]) -> str:
    """Return what a component says of an environment before it ends; "" when it starts."""
    for name, value in environment.items():
        monkeypatch.setenv(f"FLEETLINE_{name}", pem.get(value, value))
    try:
        settings_of_environment()
    except FleetlineError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({PROTOCOL: "SASL"}, "setting kafka_security_protocol"),
        ({**LOGIN, MECHANISM: ""}, f"SASL_SSL, so FLEETLINE_{MECHANISM} must be set: PLAIN, SCRAM"),
        ({**LOGIN, MECHANISM: "GSSAPI"}, f"FLEETLINE_{MECHANISM} is 'GSSAPI'; it can be PLAIN, SCRAM"),
        ({**LOGIN, USER: ""}, f"so FLEETLINE_{USER} must be set"),
        ({**LOGIN, SECRET: ""}, f"so FLEETLINE_{SECRET} must be set, or FLEETLINE_{SECRET_FILE}"),
        ({**LOGIN, **TLS}, f"FLEETLINE_{MECHANISM} is set, but FLEETLINE_{PROTOCOL} is SSL"),
        ({USER: "fleetline"}, f"FLEETLINE_{USER} is set, but FLEETLINE_{PROTOCOL} is PLAINTEXT"),
        ({SECRET: PASSWORD}, f"FLEETLINE_{SECRET} is set, but FLEETLINE_{PROTOCOL} is PLAINTEXT"),
        ({CA: "<ca>"}, f"FLEETLINE_{CA} is set, but FLEETLINE_{PROTOCOL} is PLAINTEXT"),
        ({VERIFY: "false"}, f"FLEETLINE_{VERIFY} is set, but"),
        ({**LOGIN, PROTOCOL: "SASL_PLAINTEXT", CA: "<ca>"}, f"FLEETLINE_{CA} is set, but"),
        ({**LOGIN, CA: "<none>"}, f"FLEETLINE_{CA}: cannot read"),
        ({**LOGIN, CA: "<text>"}, "holds no certificate in PEM"),
        ({**TLS, KEY: "<key>"}, f"FLEETLINE_{CERT} is not"),
        ({**TLS, CERT: "<none>"}, f"FLEETLINE_{CERT}: cannot read"),
        ({**TLS, CERT: "<cert>", KEY: "<none>"}, f"FLEETLINE_{KEY}: cannot read"),
        ({**TLS, CERT: "<cert>"}, "no certificate in"),
        ({**TLS, CERT: "<text>", KEY: "<key>"}, "no certificate in"),
        (LOCKED, f"FLEETLINE_{OPENER} must be set"),
        ({**LOCKED, OPENER: "wrong-one"}, f"FLEETLINE_{OPENER} does not open it"),
        ({**LOCKED, KEY: "<key>"}, "is not that of the certificate"),
        ({**LOGIN, SECRET_FILE: "<text>"}, f"FLEETLINE_{SECRET_FILE} and FLEETLINE_{SECRET} are both set"),
        ({**LOGIN, SECRET: "", SECRET_FILE: "<none>"}, f"FLEETLINE_{SECRET_FILE}: cannot read"),
        ({"PATH_MAP": "{"}, "path_map"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, pem: dict[str, str], environment: dict[str, str], said: str
) -> None:
    line = told(monkeypatch, environment, pem)
    assert said in line
    assert "\n" not in line
    for secret in (PASSWORD, "wrong-one", "no certificate\n"):
        assert secret not in line


@pytest.mark.parametrize(
    "environment",
    [
        {},
        LOGIN,
        {**LOGIN, PROTOCOL: "SASL_PLAINTEXT", MECHANISM: "PLAIN"},
        {**LOGIN, CA: "<ca>", VERIFY: "false"},
        TLS,
        {**TLS, CERT: "<cert>", KEY: "<key>"},
        {**LOCKED, OPENER: KEY_PASSWORD},
        {**LOGIN, CERT: "<cert>", KEY: "<key>"},
    ],
)
def test_settings_that_fit_are_taken_by_both_clients(
    monkeypatch: pytest.MonkeyPatch, pem: dict[str, str], environment: dict[str, str]
) -> None:
    assert not told(monkeypatch, environment, pem)
    from confluent_kafka import Producer

    settings = Settings()
    Producer(settings.kafka_config())
    security = KafkaSecurity.of(settings)
    credentials = security.faust_credentials()
    assert (credentials is None) == (not environment)
    if credentials is not None:
        assert credentials.protocol.value == settings.kafka_security_protocol


def test_both_clients_demand_the_same_of_the_broker(pem: dict[str, str]) -> None:
    """Faust's context and librdkafka's properties: the chain is checked always, the host name unless it is switched off."""
    for verified in (True, False):
        settings = Settings(kafka_security_protocol="SSL", kafka_ca_file=pem["<ca>"], kafka_verify_hostname=verified)
        context = KafkaSecurity.of(settings).ssl_context()
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, verified)
        assert len(context.get_ca_certs()) == 1
        config = settings.kafka_config()
        assert config["ssl.endpoint.identification.algorithm"] == ("https" if verified else "none")
        assert config["ssl.ca.location"] == pem["<ca>"]
        assert "enable.ssl.certificate.verification" not in config


def test_host_names_are_verified_unless_someone_says_otherwise() -> None:
    assert Settings(kafka_security_protocol="SSL").kafka_config()["ssl.endpoint.identification.algorithm"] == "https"


def test_nothing_secret_shows_in_settings_their_errors_or_what_is_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clickhouse = "http://loader:ch-pass-phrase@127.0.0.1:8123"
    login: dict[str, Any] = {name.lower(): value for name, value in LOGIN.items()}
    settings = Settings(**login, clickhouse_url=clickhouse)
    security = KafkaSecurity.of(settings)
    for shown in (repr(settings), str(settings), repr(security), repr(security.faust_credentials())):
        assert PASSWORD not in shown
        assert "ch-pass-phrase" not in shown
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"FLEETLINE_{name}", value)
    assert PASSWORD not in page() + security_page()
    with pytest.raises(ValidationError) as caught:
        Settings(**{**login, "kafka_sasl_mechanism": "GSSAPI"})
    assert PASSWORD not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        Settings(**{**login, "partitions": "many"})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("content", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\r\n"])
def test_a_secret_is_read_from_a_mounted_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    for name, value in LOGIN.items():
        if name != SECRET:
            monkeypatch.setenv(f"FLEETLINE_{name}", value)
    for variable in ("FLEETLINE_KAFKA_SASL_PASSWORD", "INTEGRATION_WEBHOOK_SECRET", "CLICKHOUSE_URL"):
        monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
    settings = Settings()
    assert settings.kafka_config()["sasl.password"] == PASSWORD
    assert settings.integration_webhook_secret.get_secret_value() == PASSWORD
    assert settings.clickhouse_url == PASSWORD
    assert is_set("CLICKHOUSE_URL")
    assert not is_set("PUBLIC_API_BASE_URL")


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 100_000, b"\xff\xfe"])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("FLEETLINE_SECRET_KEY_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match="FLEETLINE_SECRET_KEY_FILE") as caught:
        Settings()
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
)
def test_every_secret_can_be_a_file_and_its_variable_is_no_other_setting(name: str) -> None:
    from fleetline.secret_files import may_come_from_file, variables

    field = Settings.model_fields[name]
    others = {each for other, one in Settings.model_fields.items() for each in variables(other, one, "FLEETLINE_")}
    assert may_come_from_file(field)
    assert not {f"{each}_FILE" for each in variables(name, field, "FLEETLINE_")} & others


CERTIFICATE = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
SAID = {
    "sasl_ssl://b1:9093/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 5ms "
    "in state AUTH_REQ)": "Kafka at b1:9093 refused the user name or password: FLEETLINE_KAFKA_SASL_USERNAME",
    "sasl_ssl://b1:9093/1: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's "
    "supported mechanisms: PLAIN,SCRAM-SHA-256 (after 1ms": "it takes PLAIN,SCRAM-SHA-256",
    "ssl://b1:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker "
    "certificate could not be verified, verify that ssl.ca.location": "b1:9093 is not trusted: FLEETLINE_KAFKA_CA_FILE",
    "ssl://b1:9093/2: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number "
    "116 (after 0ms": "Kafka at b1:9093 demands a client certificate that it trusts: FLEETLINE_KAFKA_CERTIFICATE_FILE",
    "ssl://b1:9093/bootstrap: SSL handshake failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert "
    "number 42": "demands a client certificate",
    "ssl://b1:9092/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT "
    "broker listener? (after 2ms": "Kafka at b1:9092 hung up during the TLS handshake",
    ssl.SSLCertVerificationError(
        1, f"{CERTIFICATE}IP address mismatch, certificate is not valid for '10.0.0.1'. (_ssl.c:1006)"
    ): "is for another host (IP address mismatch, certificate is not valid for '10.0.0.1'): connect by a name that is in it",
    ssl.SSLCertVerificationError(
        1, f"{CERTIFICATE}certificate has expired (_ssl.c:1006)"
    ): "the certificate of Kafka at given:1 has expired",
    "Broker: Topic authorization failed": "Kafka at given:1 does not allow this user what it needs of the topic: see docs",
    'Unable connect to "b2:9093": [Error 58] SaslAuthenticationFailed: Authentication failed': "Kafka at b2:9093 refused",
    "TransactionalIdAuthorizationFailed": "needs of the transactionalid",
}


@pytest.mark.parametrize(("said", "told_as"), SAID.items())
def test_a_refusal_is_told_plainly_whoever_reports_it(said: object, told_as: str) -> None:
    assert told_as in kafka_trouble(said, "given:1")


@pytest.mark.parametrize(
    "said",
    [
        "1/1 brokers are down",
        "b1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
        "",
        TimeoutError(),
    ],
)
def test_a_broker_that_is_away_refuses_nobody(said: object) -> None:
    assert kafka_trouble(said, "given:1") == ""


def test_a_refusal_that_lasts_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    tell = TroubleLog()
    for _ in range(50):
        tell("ssl://b1:9093/1: SASL authentication error: Authentication failed")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# --- one place ----------------------------------------------------------------------------------------------------------

_CLIENTS = {"confluent_kafka": {"Producer", "Consumer", "AdminClient"}, "quixstreams": {"Application"}}
_MAKERS = {"kafka_config", "librdkafka", "faust_credentials"}
_OWN_PROBE = "fleetline/local/kafka.py"
"""Asks the broker it has just started itself, on the listener without security that only this machine reaches."""


def sources() -> Iterator[Path]:
    rooms = ("fleetline", "sources", "ingress", "registry", "processors", "schemas", "sinks", "benchmarks")
    return itertools.chain.from_iterable((ROOT / room).rglob("*.py") for room in rooms)


def client_names(tree: ast.AST) -> set[str]:
    """Return what clients are called in a module, other names for them included."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in _CLIENTS.get((node.module or "").split(".")[0], ())
    }


def uses_the_one_place(node: ast.AST, tree: ast.Module, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether an expression is made of `kafka_config()`, at once or by a variable or a function that is."""
    if any(isinstance(each, ast.Attribute) and each.attr in _MAKERS for each in ast.walk(node)):
        return True
    names = {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute)} - seen
    return any(
        uses_the_one_place(value, tree, seen | names)
        for each in ast.walk(tree)
        for name, value in bound(each)
        if name in names
    )


def bound(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield what a statement binds to which name; a function to what it returns."""
    if isinstance(node, ast.Assign):
        yield from ((ast.unparse(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield ast.unparse(node.target), node.value
    elif isinstance(node, ast.FunctionDef):
        returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
        yield from ((node.name, value) for value in returned if value is not None)


def clients() -> Iterator[tuple[str, ast.Call, ast.Module]]:
    """Yield every call that makes a client, or a Faust app."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = client_names(tree)
        apps = {"App"} | {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("App") for base in node.bases)
        }
        is_faust = "import faust" in path.read_text(encoding="utf-8")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                if called in names or (is_faust and called in apps):
                    yield str(path.relative_to(ROOT)), node, tree


def test_every_kafka_client_gets_in_by_the_one_place() -> None:
    found = list(clients())
    rooms = {path.split("/")[0] for path, _, _ in found}
    assert {"fleetline", "ingress", "processors", "registry", "sinks"} <= rooms, "clients are no longer found"
    astray = [
        f"{path}:{call.lineno}"
        for path, call, tree in found
        if path != _OWN_PROBE and not any(uses_the_one_place(each, tree) for each in [*call.args, *call.keywords])
    ]
    assert not astray, "these clients know nothing of passwords and certificates: use settings.kafka_config()"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("Producer({**settings.kafka_config(), 'acks': 'all'})", True),
        ("def config(s):\n    return {**s.kafka_config()}\nProducer({**config(s), 'acks': 'all'})", True),
        (
            "self._config = {**settings.kafka_config()}\nself._config = {**self._config, 'a': 1}\nProducer(self._config)",
            True,
        ),
        ("own = {'bootstrap.servers': settings.kafka_bootstrap_servers}\nown = {**own}\nProducer(own)", False),
        ("other = settings.kafka_config()\nProducer({'bootstrap.servers': 'x'})", False),
    ],
)
def test_a_client_that_goes_its_own_way_is_seen(code: str, found: bool) -> None:
    tree = ast.parse(code)
    (call,) = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and ast.unparse(each.func) == "Producer"]
    assert uses_the_one_place(call.args[0], tree) is found


def test_nobody_reaches_kafka_by_another_library() -> None:
    """aiokafka is Faust's alone: a client of it made directly would need credentials of its own."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                )
                clients = [each for each in modules if each.split(".")[0] in ("aiokafka", "kafka")]
                assert set(clients) <= {"aiokafka.errors"}, path


def test_a_stack_with_its_own_broker_does_not_start_with_the_settings_of_another(tmp_path: Path) -> None:
    login: dict[str, Any] = {name.lower(): value for name, value in LOGIN.items()}
    with pytest.raises(FleetlineError, match="speaks PLAINTEXT: name yours with KAFKA_BOOTSTRAP_SERVERS"):
        Stack(Settings(data_dir=tmp_path, **login)).start()


def test_mechanisms_are_those_that_both_clients_know() -> None:
    from faust.types.auth import SASLMechanism

    assert set(MECHANISMS) <= {each.value for each in SASLMechanism}


def configurations() -> Iterator[dict[str, ast.expr]]:
    """Yield what clients are configured with in the code that runs in production: dictionaries that have constant keys."""
    for path in sources():
        if path.relative_to(ROOT).parts[0] != "benchmarks":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Dict):
                    pairs = zip(node.keys, node.values, strict=True)
                    yield {str(name.value): value for name, value in pairs if isinstance(name, ast.Constant)}


def spelled(value: ast.expr) -> str:
    """Return a name in the source, `<prefix>` standing for what is put in."""
    if isinstance(value, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<prefix>" for part in value.values)
    return str(ast.literal_eval(value))


def test_every_group_that_is_joined_and_every_transactional_id_is_in_the_table_of_permissions() -> None:
    """A group is joined where the client is to commit into it, and so has a session."""
    table = access(Settings(topic_prefix="<prefix>")).values()
    made = list(configurations())
    joined = {spelled(each["group.id"]) for each in made if {"group.id", "session.timeout.ms"} <= each.keys()}
    assert {"<prefix>clickhouse", "<prefix>delivery"} <= joined
    assert joined | {"<prefix>processors"} == {
        name for each in table for name in each.joins
    }  # Faust's is its app's name
    transactions = {spelled(each["transactional.id"]) for each in made if "transactional.id" in each}
    assert transactions == {name for each in table for name in each.transactions}
