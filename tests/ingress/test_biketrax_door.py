"""BikeTrax webhooks from the request to the canonical record, through the real ASGI application."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import orjson
import pytest

from fleetline.settings import Settings
from ingress.app import build_app
from ingress.producer import MemoryProducer
from ingress.rejected import RejectedStore, read_rejected
from registry.model import Credential, Entry, Tenant
from registry.secrets import digest
from registry.view import RegistryView, entry_key
from schemas.topics import CAPTURED
from schemas.view import telemetry_view
from sources.biketrax import SOURCE
from sources.catalog import load_sources
from sources.engine import Canonical, Defect, canonicalize
from sources.raw_record import request_from_raw

PSK = "Bearer n0t-for-bearers"
EVENT = {
    "id": 1,
    "attributes": {},
    "deviceId": 1,
    "type": "deviceOnline",
    "serverTime": "2021-01-01T00:00:00.000+00:00",
    "positionId": 0,
}
DEVICE = {
    "id": 1,
    "attributes": {},
    "groupId": 0,
    "name": "Test Device 1",
    "uniqueId": "1",
    "status": "online",
    "lastUpdate": "2021-01-01T00:00:00.000+00:00",
    "positionId": 0,
    "geofenceIds": [],
    "disabled": False,
}
WEBHOOK = {"event": EVENT, "device": DEVICE}


class BikeTrax:
    """An account whose webhooks arrive at an ingress that stores in memory."""

    def __init__(self, rejected: RejectedStore | None = None) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        for tenant in ("a", "b"):
            self.add(Tenant(id=tenant, name=tenant))
        self.psk(PSK)
        app: Any = build_app(Settings(), load_sources(), self, self.producer, rejected=rejected)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://ingress")

    def add(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def psk(self, secret: str, tenant: str = "a") -> None:
        made = Credential(id=f"psk-{digest(secret)[:6]}", tenant_id=tenant, source="biketrax", digest=digest(secret))
        self.add(made)

    async def call(self, body: Any = WEBHOOK, psk: str = PSK, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"authorization": psk, "content-type": "application/json", **headers}
        return await self.http.post("/in/biketrax", content=content, headers=sent)

    def made(self) -> list[Canonical | Defect]:
        """What the normalizer makes of everything stored so far."""
        everything: list[Canonical | Defect] = []
        for number, (topic, _, body, headers) in enumerate(self.producer.records):
            everything += canonicalize(SOURCE, request_from_raw(headers, body, topic, 0, number))
        return everything

    def ids(self) -> list[bytes]:
        return [each.record["id"] for each in self.made() if isinstance(each, Canonical)]


@pytest.fixture
async def account() -> AsyncIterator[BikeTrax]:
    made = BikeTrax()
    yield made
    await made.http.aclose()


async def test_the_guides_webhook_is_taken_and_becomes_its_record(account: BikeTrax) -> None:
    # BT-a01, BT-a02, BT-a04, BT-a05, BT-a06, BT-a07, BT-a12
    answer = await account.call(**{"x-powtxn": "txn-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    (record,) = account.producer.records
    assert (record[0], record[1], record[2]) == ("fleetline.raw.biketrax", b"1", orjson.dumps(WEBHOOK))
    (only,) = account.made()
    assert isinstance(only, Canonical)
    view = telemetry_view(only.record)
    assert view["event"] == {"type": "deviceOnline", "attributes": {}}
    assert (view["observed_at"], view["source_device"]) == ("2021-01-01T00:00:00.000000Z", "1")
    assert (view["latitude"], view["fix_at"]) == (None, None)
    assert not any("positionId" in name for name in view["numbers"])


async def test_the_transaction_id_is_in_the_topic_and_in_the_record_and_changes_no_id(account: BikeTrax) -> None:
    # BT-a03, BT-c05, BT-a15
    for transaction in ("6f1c2f0e", "opaque / any ~text", "x" * 256, ""):
        await account.call(**{"x-powtxn": transaction})
    stored = [dict(headers).get(f"{CAPTURED}x-powtxn", b"").decode() for *_, headers in account.producer.records]
    assert stored == ["6f1c2f0e", "opaque / any ~text", "x" * 256, ""]
    found = [each.record["texts"].get("biketrax.txn", "") for each in account.made() if isinstance(each, Canonical)]
    assert found == stored
    assert len(set(account.ids())) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe\x00",
        b"<xml/>",
        b'{"event": null}',
        b'{"event": {"id": 1}, "device": []}',
        b'{"event": "deviceOnline"}',
        b'{"something": {"of": "tomorrow"}}',
        orjson.dumps(WEBHOOK | {"event": EVENT | {"type": 7, "attributes": "x"}}),
    ],
)
async def test_no_body_with_the_right_psk_is_refused(body: bytes, account: BikeTrax) -> None:  # BT-a08
    assert (await account.call(body)).status_code == 200
    assert [record[2] for record in account.producer.records] == [body]
    assert all(isinstance(each, Defect) for each in account.made())


@pytest.mark.parametrize("content_type", ["application/json", "application/json;charset=UTF-8", "text/plain", ""])
async def test_json_is_json_whatever_it_is_called(content_type: str, account: BikeTrax) -> None:  # BT-a02, BT-a08
    assert (await account.call(**{"content-type": content_type})).status_code == 200
    assert len(account.ids()) == 1


@pytest.mark.parametrize("psk", ["Basic dXNlcjpwYXNz", "Bearer abc.def", "a bare string with spaces", "p\xe4ss"])
async def test_the_whole_authorization_value_is_compared(psk: str, account: BikeTrax) -> None:  # BT-a09
    account.psk(psk)
    url, body = "/in/biketrax", orjson.dumps(WEBHOOK)
    for encoding in ("latin-1", "utf-8"):
        answer = await account.http.post(url, content=body, headers={b"authorization": psk.encode(encoding)})
        assert answer.status_code == 200
    account.producer.records.clear()
    _, _, behind = psk.partition(" ")
    near = {psk[:-1], f"{psk}x", psk.swapcase(), f"Bearer {psk}", f"Basic {psk}", behind, "", psk.replace("a", "b", 1)}
    for other in near - {psk}:
        answer = await account.http.post(url, content=body, headers={b"authorization": other.encode("latin-1")})
        assert (answer.status_code, answer.content) == (401, b"")
    assert (await account.http.post(url, content=body)).status_code == 401
    assert not account.producer.records


async def test_the_psk_is_kept_as_a_digest_only(account: BikeTrax) -> None:  # BT-a09
    await account.call()
    assert PSK not in repr(account.producer.records)
    assert digest(PSK) not in repr(account.producer.records)


@pytest.mark.parametrize(
    "kind",
    [
        "deviceOnline", "deviceOffline", "deviceMoving", "deviceStopped", "alarm", "geofenceEnter", "geofenceExit",
        "ignitionOn", "ignitionOff", "commandResult", "maintenance", "deviceOverspeed", "queuedCommandSent",
        "deviceInactive", "geofenceCrossed", "driverChanged", "media", "deviceUnknown", "deviceFuelDrop",
        "deviceFuelIncrease", "proximityEnter", "proximityExit", "unaccompaniedMotion", "textMessage", "of.tomorrow é",
    ],
)  # fmt: skip
async def test_every_type_of_event_is_taken_under_its_own_name(kind: str, account: BikeTrax) -> None:
    # BT-a10, BT-a11
    assert (await account.call({"event": EVENT | {"type": kind}, "device": DEVICE})).status_code == 200
    (only,) = account.made()
    assert isinstance(only, Canonical)
    assert (only.record["type"], only.record["event_type"]) == ("event", kind)


async def test_position_geofence_and_maintenance_are_kept(account: BikeTrax) -> None:  # BT-a13
    position = {"id": 5, "deviceId": 1, "fixTime": "2021-01-01T00:00:00.000+00:00", "latitude": 48.2, "longitude": 16.4}
    geofence, maintenance = {"id": 4, "name": "Yard"}, {"id": 3, "name": "Brakes", "type": "totalDistance"}
    more = {"position": position, "geofence": geofence, "maintenance": maintenance}
    await account.call(
        {"event": EVENT | {"geofenceId": 4, "maintenanceId": 3, "positionId": 5}, "device": DEVICE} | more
    )
    (only,) = account.made()
    assert isinstance(only, Canonical)
    view = telemetry_view(only.record)
    assert (view["latitude"], view["longitude"]) == (48.2, 16.4)
    assert view["event"]["attributes"] == {
        "geofenceId": 4,
        "geofence": geofence,
        "maintenanceId": 3,
        "maintenance": maintenance,
    }
    assert view["numbers"]["biketrax.event.positionId"] == 5


async def test_the_device_is_its_unique_id_and_the_platforms_number_an_alias(account: BikeTrax) -> None:  # BT-a14
    await account.call({"event": EVENT | {"deviceId": 77}, "device": DEVICE | {"id": 77, "uniqueId": "8612610"}})
    (only,) = account.made()
    assert isinstance(only, Canonical)
    assert only.record["source_device"] == "8612610"
    assert only.record["numbers"]["biketrax.device.id"] == 77
    named = [(each.kind, each.value) for each in only.identities]
    assert named[0] == ("external_id", "8612610")
    assert named[-1] == ("biketrax.device.id", "77")


async def test_the_same_event_twice_is_one_record_and_another_accounts_is_another(account: BikeTrax) -> None:
    # BT-a15
    account.psk("of tenant b", "b")
    await account.call(**{"x-powtxn": "1"})
    later = {"event": EVENT, "device": DEVICE | {"status": "offline", "lastUpdate": None, "positionId": 9}}
    await account.call(later, **{"x-powtxn": "2"})
    assert len(set(account.ids())) == 1
    await account.call(psk="of tenant b")
    await account.call({"event": EVENT | {"id": 2}, "device": DEVICE})
    assert len(set(account.ids())) == 3


async def test_a_wrong_psk_is_401_and_what_it_brought_waits_for_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # BT-a16
    store = RejectedStore(tmp_path)
    store.start()
    account = BikeTrax(store)
    for content, headers in ((WEBHOOK, {"X-PowTxn": "t-1"}), ({"event": {**EVENT, "id": 2}}, {})):
        answer = await account.http.post(
            "/in/biketrax", json=content, headers={"Authorization": "Bearer of yesterday", **headers}
        )
        assert (answer.status_code, answer.content) == (401, b"")
    resender = await account.http.post("/in/flespi", json=[], headers={"Authorization": "Bearer no"})
    assert resender.status_code == 401
    store.close()
    first, second = read_rejected(tmp_path, "biketrax")
    assert (orjson.loads(first.body), first.headers["x-powtxn"]) == (WEBHOOK, "t-1")
    assert orjson.loads(second.body)["event"]["id"] == 2
    assert not list(read_rejected(tmp_path, "flespi"))  # it comes again by itself
    assert account.producer.records == []
    assert len([record for record in caplog.records if "refused (401)" in record.message]) == 1
    assert "yesterday" not in caplog.text + "".join(path.read_text() for path in tmp_path.rglob("*.ndjson"))
