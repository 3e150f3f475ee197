"""Whose a message is, the whole way: real doors, the real Kafka, the real worker; by every id and over every transport."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleetline.settings import Settings
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Device, Entry, Tenant
from registry.secrets import digest
from registry.store import RegistryStore
from schemas.times import format_us
from tests.processors.house import Found, House, open_house
from tests.support import TENANT

pytestmark = pytest.mark.stack

OTHER = "5a3b1e00-0000-7000-8000-0000000000bb"
EUI = "a81758fffe0512ab"
IMEI, IMEI_B = "352625333222111", "352625333222112"
GATEWAY, CHILD, TWIN = (f"5a3b1e00-0000-7000-8000-0000000000{n}" for n in ("c1", "c2", "c3"))
FOREIGN_GATEWAY, FOREIGN_CHILD = (f"5a3b1e00-0000-7000-8000-0000000000{n}" for n in ("d1", "d2"))
PLAIN, TAG = "plain", "tag"
SOURCES = (INTEGRATION, "flespi", "digital_matter", "biketrax", "autopi")
UNKNOWN: Found = ("", "", False)


def device(name: str, tenant: str = TENANT, parent: str = "", gateway: bool = False, **attributes: str) -> Device:
    named = {
        {"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI, "own": "biketrax.device.id"}.get(k, k): v
        for k, v in attributes.items()
    }
    return Device(id=name, tenant_id=tenant, name=f"n-{name}", parent_id=parent, gateway=gateway, attributes=named)


def secret(source: str, of: str = "", tenant: str = TENANT) -> str:
    return f"secret-{source}-{of}-{tenant[-2:]}"


def credential(source: str, of: str = "", tenant: str = TENANT) -> Credential:
    shown = secret(source, of, tenant)
    return Credential(id=f"c-{shown}", tenant_id=tenant, source=source, digest=digest(shown), device_id=of)


REGISTRY: list[Entry] = [
    Tenant(id=TENANT, name="A"),
    Tenant(id=OTHER, name="B"),
    device(PLAIN, external_id="silo-3", dev_eui="A8-17-58-FF-FE-05-12-AB", imei=IMEI, serial="131693", own="77"),
    device(TAG, serial="131694", imei=IMEI_B),
    device(GATEWAY, gateway=True),
    device(CHILD, parent=GATEWAY, external_id="probe-1"),
    device(TWIN, parent=GATEWAY, external_id=CHILD),  # its external id is its sibling's device id
    device(FOREIGN_GATEWAY, gateway=True),
    device(FOREIGN_CHILD, parent=FOREIGN_GATEWAY, external_id="probe-9"),
    device("theirs", OTHER, external_id="silo-3", dev_eui=EUI, imei=IMEI, serial="131693", own="77"),
    *(credential("device", of) for of in (PLAIN, GATEWAY)),
    *(credential(source, tenant=tenant) for tenant in (TENANT, OTHER) for source in SOURCES),
    credential("digital_matter", TAG),
]  # fmt: skip


@pytest.fixture(scope="module")
def house(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(stack, tmp_path_factory.mktemp("house"), REGISTRY) as opened:
        yield opened


def reading(mark: int, **more: Any) -> dict[str, Any]:
    return {**more, "ts": mark, "telemetry": {"temperature": 20.5}}


TOKEN = secret("device", GATEWAY)
RELAYS: dict[str, Callable[[House, int, str], None]] = {
    "HTTP": lambda h, at, kid: h.post(f"/api/v1/{TOKEN}/telemetry", reading(at, childDeviceId=kid)),
    "HTTP batch item": lambda h, at, kid: h.post(
        f"/api/v1/{TOKEN}/telemetry/batch", {"items": [reading(at, childDeviceId=kid)]}
    ),
    "HTTP batch": lambda h, at, kid: h.post(
        f"/api/v1/{TOKEN}/telemetry/batch", {"childDeviceId": kid, "items": [reading(at)]}
    ),
    "MQTT": lambda h, at, kid: h.publish(TOKEN, "v1/devices/me/telemetry", reading(at, childDeviceId=kid)),
    "MQTT gateway": lambda h, at, kid: h.publish(
        TOKEN, "v1/gateway/telemetry", {kid: [{"ts": at * 1000, "values": {"temperature": 20.5}}]}
    ),
    "WebSocket": lambda h, at, kid: h.speak(TOKEN, reading(at, childDeviceId=kid)),
    "webhook by token": lambda h, at, kid: h.webhook(
        "generic", reading(at, childDeviceId=kid, deviceToken=TOKEN), secret(INTEGRATION)
    ),
    "webhook by id": lambda h, at, kid: h.webhook(
        "generic", reading(at, childDeviceId=kid, externalDeviceId=GATEWAY), secret(INTEGRATION)
    ),
}
CHILDREN: list[tuple[str, Found]] = [
    (CHILD, (CHILD, GATEWAY, False)),  # the device id first, though a sibling has it for its external id
    ("probe-1", (CHILD, GATEWAY, False)),
    (TWIN, (TWIN, GATEWAY, False)),
    (FOREIGN_CHILD, ("", GATEWAY, False)),
    ("probe-9", ("", GATEWAY, False)),
    (PLAIN, ("", GATEWAY, False)),
    ("theirs", ("", GATEWAY, False)),
    (GATEWAY, ("", GATEWAY, False)),
    ("nobody", ("", GATEWAY, False)),
]


@pytest.mark.parametrize("relay", RELAYS.values(), ids=RELAYS)
def test_a_gateways_message_is_its_childs_and_nobodys_when_it_has_no_such_child(
    relay: Callable[[House, int, str], None], house: House
) -> None:
    # AC-a16, AC-a17, AC-a18, AC-a28, AC-c11
    marks = {name: house.mark() for name, _ in CHILDREN}
    for name, at in marks.items():
        relay(house, at, name)
    assert {name: house.became(at) for name, at in marks.items()} == {name: [found] for name, found in CHILDREN}


@pytest.mark.parametrize("relay", ["HTTP", "MQTT", "WebSocket"])
def test_a_device_that_is_no_gateway_speaks_for_nobody_else(relay: str, house: House) -> None:
    # AC-a17
    token, at = secret("device", PLAIN), house.mark()
    body = reading(at, childDeviceId=CHILD)
    if relay == "HTTP":
        house.post(f"/api/v1/{token}/telemetry", body)
    elif relay == "MQTT":
        house.publish(token, "v1/devices/me/telemetry", body)
    else:
        house.speak(token, body)
    assert house.became(at) == [UNKNOWN]


def test_a_token_is_its_devices_over_every_transport(house: House) -> None:
    token = secret("device", PLAIN)
    marks = [house.mark() for _ in range(4)]
    house.post(f"/api/v1/{token}/telemetry", reading(marks[0]))
    house.publish(token, "v1/devices/me/telemetry", reading(marks[1]))
    house.speak(token, reading(marks[2]))
    house.webhook("generic", reading(marks[3], deviceToken=token, externalDeviceId=GATEWAY), secret(INTEGRATION))
    assert [house.became(at) for at in marks] == [[(PLAIN, "", False)]] * 4


def flespi(house: House, at: int, ident: str, tenant: str) -> None:
    house.post(
        "/in/flespi",
        [{"ident": ident, "timestamp": at, "battery.voltage": 4}],
        authorization=f"Bearer {secret('flespi', '', tenant)}",
    )


def digital_matter(house: House, at: int, serial: int, imei: str, tenant: str, of: str = "") -> None:
    record = {"SeqNo": 1, "DateUTC": format_us(at * 1_000_000)[:19].replace("T", " "), "Reason": 11, "Fields": []}
    body = {"SerNo": serial, "IMEI": imei, "Records": [record]}
    house.post("/in/digital_matter", body, x_api_key=secret("digital_matter", of, tenant))


def biketrax(house: House, at: int, unique: str, own: int, tenant: str) -> None:
    event = {"id": at, "type": "alarm", "eventTime": format_us(at * 1_000_000), "deviceId": own}
    house.post(
        "/in/biketrax",
        {"device": {"id": own, "uniqueId": unique}, "event": event},
        authorization=secret("biketrax", "", tenant),
    )


def autopi(house: House, at: int, unit: str, tenant: str) -> None:
    item = {"@t": "obd.bat", "@ts": format_us(at * 1_000_000), "voltage": 12.6}
    house.post(f"/in/autopi/{unit}", [item], authorization=f"Bearer {secret('autopi', '', tenant)}")


def chirpstack(house: House, at: int, eui: str, tenant: str) -> None:
    body = {"deviceInfo": {"devEui": eui}, "time": format_us(at * 1_000_000), "fCnt": at, "object": {"t": 1}}
    house.post(
        f"/api/v1/integrations/chirpstack/telemetry?tenantId={tenant}&event=up",
        body,
        x_webhook_secret=secret(INTEGRATION, "", tenant),
    )


def ttn(house: House, at: int, eui: str, name: str, tenant: str) -> None:
    said = format_us(at * 1_000_000)
    ids = {"dev_eui": eui, "device_id": name} if eui else {"device_id": name}
    uplink = {"f_cnt": 1, "decoded_payload": {"temperature": 1}, "received_at": said}
    house.webhook(
        "ttn",
        {"end_device_ids": ids, "uplink_message": uplink, "received_at": said},
        secret(INTEGRATION, "", tenant),
        tenant,
    )


KNOWN_AS: dict[str, Callable[[House, int, str], None]] = {
    "external id": lambda h, at, t: h.webhook("generic", reading(at, externalDeviceId="silo-3"), secret(INTEGRATION, "", t), t),
    "IMEI as ident": lambda h, at, t: flespi(h, at, IMEI, t),
    "IMEI within an ident": lambda h, at, t: flespi(h, at, f"x-{IMEI}", t),
    "external id as ident": lambda h, at, t: flespi(h, at, "silo-3", t),
    "serial": lambda h, at, t: digital_matter(h, at, 131693, "", t),
    "IMEI": lambda h, at, t: digital_matter(h, at, 999, IMEI, t),
    "a platform's number": lambda h, at, t: biketrax(h, at, "", 77, t),
    "a platform's unique id": lambda h, at, t: biketrax(h, at, IMEI, 0, t),
    "unit": lambda h, at, t: autopi(h, at, "131693", t),
    "DevEUI": lambda h, at, t: chirpstack(h, at, EUI, t),
    "DevEUI in capitals": lambda h, at, t: chirpstack(h, at, EUI.upper(), t),
    "DevEUI with hyphens": lambda h, at, t: ttn(h, at, "A8-17-58-FF-FE-05-12-AB", "", t),
    "DevEUI with colons": lambda h, at, t: ttn(h, at, "a8:17:58:ff:fe:05:12:ab", "another", t),
    "DevEUI in base64": lambda h, at, t: chirpstack(h, at, "qBdY//4FEqs=", t),
    "device_id": lambda h, at, t: ttn(h, at, "", "silo-3", t),
}  # fmt: skip


@pytest.mark.parametrize("send", KNOWN_AS.values(), ids=KNOWN_AS)
def test_a_device_is_found_by_each_id_its_sender_knows_it_by_and_within_its_tenant(
    send: Callable[[House, int, str], None], house: House
) -> None:
    # AC-a29, AC-a32, AC-a23
    mine, others = house.mark(), house.mark()
    send(house, mine, TENANT)
    send(house, others, OTHER)
    assert house.became(mine) == [(PLAIN, "", False)]
    assert house.became(others) == [("theirs", "", False)]


def test_what_a_message_says_never_outweighs_whose_credential_sent_it(house: House) -> None:
    # DM-a18
    agrees, disagrees, unknown = (house.mark() for _ in range(3))
    digital_matter(house, agrees, 131694, IMEI_B, TENANT, of=TAG)
    digital_matter(house, disagrees, 131693, "", TENANT, of=TAG)
    digital_matter(house, unknown, 424242, "", TENANT, of=TAG)
    assert [house.became(at) for at in (agrees, disagrees, unknown)] == [
        [(TAG, "", found)] for found in (False, True, False)
    ]


def test_what_nobody_is_known_by_waits_and_is_released_once_when_somebody_is(house: House) -> None:
    # AC-a41, DM-a19, AC-a17
    marks = [house.mark() for _ in range(6)]
    house.webhook("generic", reading(marks[0], externalDeviceId="new"), secret(INTEGRATION))
    chirpstack(house, marks[1], "00000000000000FF", TENANT)
    digital_matter(house, marks[2], 5_005, "", TENANT)
    for at, relay in zip(marks[3:], ("HTTP", "MQTT", "WebSocket"), strict=True):
        RELAYS[relay](house, at, "probe-2")
    waits = [UNKNOWN] * 3 + [("", GATEWAY, False)] * 3
    assert [house.became(at) for at in marks] == [[each] for each in waits]
    with RegistryStore(house.settings) as store:
        store.put([
            device("new", dev_eui="00:00:00:00:00:00:00:ff", serial="5005"),  # without an external id it is its own id
            device("new child", parent=GATEWAY, external_id="probe-2"),
        ])  # fmt: skip
    found = [("new", "", False)] * 3 + [("new child", GATEWAY, False)] * 3
    assert [house.became(at, 2) for at in marks] == [
        [before, after] for before, after in zip(waits, found, strict=True)
    ]
    late = house.mark()
    RELAYS["MQTT"](house, late, "probe-2")
    assert house.became(late) == [("new child", GATEWAY, False)]
    assert [len(house.became(at)) for at in marks] == [2] * 6, "each went on once"
