"""What is printed is pasted: into a shell, before the real doors and the real Kafka, for every source and transport."""

import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner

from fleetline.cli import main
from fleetline.connectivity.examples import Example, connection
from fleetline.connectivity.recipient import recipient_of
from fleetline.connectivity.tokens import rotate_token
from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.local.health import is_alive
from fleetline.local.process import free_port
from fleetline.settings import DOORS, Settings
from registry.model import Device
from registry.store import RegistryStore
from schemas import topics as names
from schemas.ids import new_id
from sources.catalog import load_source, load_sources, source_names
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw
from tests.ingress.test_flespi_door import PrivateCa
from tests.support import child, environment, read_all, running, until

pytestmark = pytest.mark.stack

HOSTILE = """Va'n "7" $(touch pasted) `touch pasted` \\ ! & ; | {x} [y] über"""
HOSTILE_ID = "v'7$(touch${IFS}pasted)\"`!&;|{x}[y]"
PROGRAMS = ("mosquitto_pub", "websocat", "curl", "base64")


class House:
    """Running doors, a tenant whose names and ids are hostile, and what was stored."""

    def __init__(self, settings: Settings, ca: PrivateCa | None = None) -> None:
        self.settings = settings
        self.ca = ca
        self.folder = settings.data_dir / "paste"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **environment(settings),
            **{f"FLEETLINE_{name.upper()}_PORT": str(port) for name, port in settings.door_ports().items()},
        }
        if ca is not None:
            self.environment |= {"FLEETLINE_TLS_CERTIFICATE": str(ca.chain), "FLEETLINE_TLS_KEY": str(ca.key)}
        self.secrets: dict[str, str] = {}
        self.owners: dict[str, Device] = {}
        with RegistryStore(settings) as store:
            tenant = store.create_tenant(HOSTILE, id=f"t'{new_id()}")
            attributes: dict[str, Any] = {"dev_eui": "70b3d57ed0001234", "imei": "357454075000000", "serial": "S'1"}
            self.device = store.create_device(tenant, HOSTILE, id=f"{HOSTILE_ID}{new_id()}", **attributes)
            gateway = store.create_device(tenant, "Gateway", gateway=True)
            self.child = store.create_device(tenant, f"{HOSTILE} child", id=f"c{HOSTILE_ID}{new_id()}", parent=gateway)
            self.gateway = gateway
            integration = store.rotate_tenant_secret(tenant)
            for name, source in load_sources().items():
                self.secrets[name] = integration if source.tenant_secret else rotate_token(store, source, self.device)
            self.secrets["gateway"] = rotate_token(store, load_source("device"), gateway)
            self.view = store.view

    def examples(self, source: str, device: Device, secret: str | None) -> list[Example]:
        """Return the examples for a device."""
        ca_file = str(self.ca.ca) if self.ca else ""
        settings = self.settings
        if self.ca is not None:
            settings = settings.model_copy(update={"tls_certificate": self.ca.chain})
        who = recipient_of(self.view, device)
        return connection(settings, load_source(source), who, secret, ca_file=ca_file).examples

    def paste(self, example: Example, token: str | None = None) -> str:
        """Run an example in a shell as it stands, and return what it said. Nothing but what it says may happen."""
        for program in PROGRAMS:
            if re.search(rf"(^|[|;{{ ]) ?{program} ", example.command) and shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        given = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if token is not None:
            given["FLEETLINE_TOKEN"] = token
        shell = ["bash", "-c", example.command]
        done = subprocess.run(
            shell, check=False, cwd=self.folder, env=given, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (example.command, done.stdout, done.stderr)
        assert not list(self.folder.iterdir()), "a name was run as a command"
        return done.stdout

    def stored(self, source: str) -> list[Any]:
        return read_all(self.settings, self.settings.topics.raw(source))


@contextmanager
def doors(settings: Settings, ca: PrivateCa | None = None) -> Iterator[House]:
    """Run the three doors on free ports."""
    ports = {f"{name}_port": free_port() for name in DOORS}
    settings = settings.model_copy(update={"topic_prefix": f"t{new_id()[-12:]}.", "partitions": 2, **ports})
    ensure_topics(settings)
    house = House(settings, ca)
    with ExitStack() as closing:
        closing.callback(delete_topics, settings)
        for name in DOORS:
            process = child(settings, name, "-m", "fleetline", "serve", name)
            process._environment.update(house.environment)
            closing.enter_context(running(process))
        verify: Any = True if ca is None else ssl.create_default_context(cafile=str(ca.ca))
        base = f"http{'s' if ca else ''}://127.0.0.1:{settings.ingress_port}"
        with httpx.Client(base_url=base, verify=verify) as client:
            until(lambda: _ready(client), 60, "the ingress is ready")
        for name in ("mqtt", "websocket"):
            until(lambda name=name: is_alive(settings, name), 60, f"{name} is ready")  # type: ignore[misc]
        yield house


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def plain(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with doors(stack.model_copy(update={"data_dir": tmp_path_factory.mktemp("doors")})) as house:
        yield house


def check(house: House, example: Example, source: str, device: Device, token: str | None = None) -> None:
    """Paste an example: it is acknowledged, and what it sent is stored once, of the device it is for."""
    before = len(house.stored(source))
    said = house.paste(example, token)
    if example.transport == "http":
        assert " 200 OK" in said.splitlines()[0]
    elif example.transport == "websocket":
        assert [orjson.loads(each)["type"] for each in said.splitlines()] == ["auth", "ack"]
    records = house.stored(source)
    assert len(records) == before + 1, example.command
    record = max(records, key=lambda each: each.timestamp()[1])
    headers = dict(record.headers())
    assert headers[names.TENANT].decode() == device.tenant_id
    assert headers[names.TRANSPORT].decode() == example.transport
    assert not [value for value in headers.values() if house.secrets[source].encode() in value]
    request = request_from_raw(record.headers(), record.value(), record.topic(), record.partition(), record.offset())
    for made in canonicalize(load_source(source), request):
        assert isinstance(made, Canonical), made
        found = house.view.identify(request.tenant_id, request.device_id, made.identities, made.child)
        assert found.device_id in {device.id, house.child.id}, example.command
        assert not found.mismatch
        if "behind" in example.title and made.child:
            assert found.device_id == house.child.id


@pytest.mark.parametrize("source", [name for name in source_names() if name != "device"])
def test_the_example_of_every_source_is_stored_for_the_device_it_is_printed_for(plain: House, source: str) -> None:
    # AC-b03, AP-b02
    (example,) = plain.examples(source, plain.device, plain.secrets[source])
    assert not example.note
    check(plain, example, source, plain.device)


DEVICE_FORMS = ("HTTP, JSON", "HTTP, CBOR", "HTTP, JSON, a batch", "MQTT, devices/{deviceToken}/telemetry",
    "MQTT, v1/devices/me/telemetry", "WebSocket, Python", "WebSocket, websocat")  # fmt: skip


@pytest.mark.parametrize("title", DEVICE_FORMS)
@pytest.mark.parametrize("known", [True, False], ids=["secret", "variable"])
def test_every_form_of_the_device_api_is_acknowledged_as_pasted(plain: House, title: str, known: bool) -> None:
    # AC-b03, AC-b14, AC-b11
    token = plain.secrets["device"]
    found = {each.title: each for each in plain.examples("device", plain.device, token if known else None)}
    assert set(found) == set(DEVICE_FORMS)
    assert (token in found[title].command) == known
    check(plain, found[title], "device", plain.device, None if known else token)


CHILD_FORMS = ("HTTP, JSON, for a device behind the gateway", "HTTP, JSON, a batch, for a device behind the gateway",
    "MQTT, v1/gateway/telemetry, for a device behind the gateway", "WebSocket, Python, for a device behind the gateway",
    "WebSocket, websocat, for a device behind the gateway")  # fmt: skip


@pytest.mark.parametrize("title", CHILD_FORMS)
def test_a_gateways_examples_speak_for_its_child(plain: House, title: str) -> None:
    # AC-b03
    found = {each.title: each for each in plain.examples("device", plain.gateway, plain.secrets["gateway"])}
    assert set(found) == {*DEVICE_FORMS, *CHILD_FORMS}
    check(plain, found[title], "device", plain.gateway)


def test_a_wrong_token_is_told_by_every_command(plain: House) -> None:
    for example in plain.examples("device", plain.device, "wrong"):
        if example.transport == "http":
            assert " 401 " in plain.paste(example).splitlines()[0]
        elif "websocat" not in example.title:
            with pytest.raises(AssertionError):
                plain.paste(example)


def test_the_command_prints_the_same_for_the_doors_as_they_run(plain: House) -> None:
    # AP-b01, AC-b14
    runner = CliRunner(env={**plain.environment, "PUBLIC_API_BASE_URL": None})
    arguments = ["device", "connect", plain.device.id, "--source", "autopi", "--json"]
    printed = runner.invoke(main, arguments)
    assert printed.exit_code == 0, printed.output
    said = orjson.loads(printed.stdout)
    assert said["secret"] is None
    assert "cannot be shown again" in said["message"]
    (example,) = [Example(**each) for each in said["examples"]]
    check(plain, example, "autopi", plain.device, plain.secrets["autopi"])
    rotated = orjson.loads(runner.invoke(main, [*arguments, "--rotate"]).stdout)
    url, token = (each["value"] for each in rotated["setup"])
    assert url == f"http://127.0.0.1:{plain.settings.ingress_port}/in/autopi"
    assert token == rotated["secret"] != plain.secrets["autopi"]
    headers = {"authorization": f"token {token}"}
    until(lambda: httpx.post(url, content=b"[]", headers=headers).status_code == 200, 10, "the new token opens")


def test_over_tls_with_a_private_ca(stack: Settings, tmp_path: Path) -> None:
    # AC-b03
    ca = PrivateCa(tmp_path)
    with doors(stack.model_copy(update={"data_dir": tmp_path / "data"}), ca) as house:
        token = house.secrets["device"]
        for example in house.examples("device", house.device, token):
            program = example.title.rpartition(" ")[2] if "websocat" in example.title else "mosquitto_pub"
            if example.transport == "http" or shutil.which(program) or "Python" in example.title:
                check(house, example, "device", house.device)
