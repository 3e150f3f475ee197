"""`fleetline rejected`: shows what was refused and sends it again, through a real ingress on the loopback."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from fleetline.errors import FleetlineError
from fleetline.resending import filled, resend
from ingress.rejected import RejectedStore, read_rejected
from registry.model import Credential
from registry.secrets import digest
from sources.catalog import load_source
from tests.ingress.loopback import TENANT, Ingress, serving

pytestmark = pytest.mark.stack
PSK, EVENT = "the right psk", b'{"event": {"id": %d, "type": "alarm", "deviceId": 7}}'


def fleetline(data: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fleetline", "rejected", *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, check=False)


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """Three events of BikeTrax and one message of a device, as a store kept them."""
    store = RejectedStore(tmp_path / "rejected")
    store.start()
    for number in range(3):
        store.keep(
            "biketrax", "/in/biketrax", EVENT % number, {"content-type": "application/json", "x-powtxn": f"t-{number}"}
        )
    store.keep("device", "/api/v1/{deviceToken}/telemetry", b'{"temperature": 1}', {"content-type": "application/json"})
    store.close()
    return tmp_path


@pytest.fixture
def ingress() -> Ingress:
    made = Ingress()
    for source, secret in (("biketrax", PSK), ("device", "tök/en")):
        made.add(Credential(id=source, tenant_id=TENANT, source=source, digest=digest(secret), device_id=""))
    return made


def test_what_was_refused_is_counted_listed_and_printed_whole(refused: Path) -> None:
    # BT-a16
    counted = orjson.loads(fleetline(refused, "--json").stdout)
    assert [(row["source"], row["requests"]) for row in counted] == [("biketrax", 3), ("device", 1)]
    listed = fleetline(refused, "biketrax").stdout.decode()
    assert listed.count("POST /in/biketrax") == 3
    whole = [orjson.loads(line) for line in fleetline(refused, "biketrax", "--json").stdout.splitlines()]
    assert [each["headers"]["x-powtxn"] for each in whole] == ["t-0", "t-1", "t-2"]
    chosen = fleetline(refused, "biketrax", "--json", "--containing", '"id": 2').stdout
    assert chosen == fleetline(refused, "biketrax", "--json").stdout.splitlines(keepends=True)[2]
    assert fleetline(refused, "biketrax", "--json", "--since", "2100-01-01T00:00:00Z").stdout == b""
    assert b"nothing" in fleetline(refused / "elsewhere").stdout


def test_it_is_sent_again_in_its_order_with_its_headers(refused: Path, ingress: Ingress) -> None:
    # BT-a16
    with serving(ingress) as url:
        done = fleetline(refused, "biketrax", "--replay", "--authorization", PSK, "--url", url)
    assert (done.returncode, done.stdout) == (0, b"3 accepted, 0 not\n"), done.stderr
    stored = ingress.requests("biketrax")
    assert [each.body for each in stored] == [EVENT % number for number in range(3)]
    assert [each.header("x-powtxn") for each in stored] == ["t-0", "t-1", "t-2"]


def test_a_credential_in_the_path_is_put_back(refused: Path, ingress: Ingress) -> None:
    with serving(ingress) as url:
        missing = fleetline(refused, "device", "--replay", "--authorization", "x", "--url", url)
        assert missing.returncode == 1
        assert b"--part deviceToken=VALUE" in missing.stderr
        done = fleetline(refused, "device", "--replay", "--part", "deviceToken=tök/en", "--url", url)
    assert done.returncode == 1  # a slash cannot be in a part of a path; the ingress knows no such route
    ingress.add(Credential(id="plain", tenant_id=TENANT, source="device", digest=digest("tök en"), device_id=""))
    with serving(ingress) as url:
        done = fleetline(refused, "device", "--replay", "--part", "deviceToken=tök en", "--json", "--url", url)
    assert orjson.loads(done.stdout) == {"accepted": 1, "refused": 0}


def test_it_stops_at_the_first_401_and_says_where_there_is_no_ingress(refused: Path, ingress: Ingress) -> None:
    with serving(ingress) as url:
        wrong = fleetline(refused, "biketrax", "--replay", "--header", "authorization=guess", "--url", url)
    assert (wrong.returncode, wrong.stdout) == (1, b"0 accepted, 0 not\n")
    assert b"still 401" in wrong.stderr
    assert b"guess" not in wrong.stderr
    nobody = fleetline(refused, "biketrax", "--replay", "--authorization", PSK, "--url", url)
    assert nobody.returncode == 1
    assert b"no ingress at" in nobody.stderr
    odd = fleetline(refused, "biketrax", "--replay", "--authorization", PSK, "--url", "file:///etc")
    assert (odd.returncode, b"no http" in odd.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--replay",),
        ("biketrax", "--replay"),
        ("nobody",),
        ("biketrax", "--since", "soon"),
        ("biketrax", "--replay", "--header", "the secret by mistake"),
    ],
)
def test_wrong_usage_ends_with_2_and_quotes_no_secret(refused: Path, arguments: tuple[str, ...]) -> None:
    done = fleetline(refused, *arguments)
    assert done.returncode == 2
    assert b"mistake" not in done.stderr


def test_a_broker_that_is_away_is_waited_for(refused: Path, ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        ingress.producer.is_available = True

    monkeypatch.setattr("fleetline.resending.sleep", sleep)
    ingress.producer.is_available = False
    kept = list(read_rejected(refused / "rejected", "biketrax"))
    with serving(ingress) as url:
        told = list(resend(kept, load_source("biketrax"), url, {"authorization": PSK}, {}))
    assert [status for _, status in told] == [200] * 3
    assert waits == [5]


def test_secret_parts_of_a_path_and_a_query_are_put_back_and_the_rest_is_quoted() -> None:
    device = load_source("device")
    assert filled("/api/v1/{deviceToken}/telemetry", device, {"deviceToken": "a b"}) == "/api/v1/a%20b/telemetry"
    assert filled("/in/device/ü ?x=%20y", device, {}) == "/in/device/%C3%BC%20?x=+y"
    with pytest.raises(FleetlineError, match="--part"):
        filled("/api/v1/{deviceToken}/telemetry", device, {})
