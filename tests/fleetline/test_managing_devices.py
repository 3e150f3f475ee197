"""Devices on the command line: found, shown, changed, deleted, listed in parts, and given their token."""

import shlex
from typing import Any

import msgspec
import orjson
import pytest

from fleetline.managing.pages import Part, listed
from fleetline.settings import Settings
from registry.model import Credential, Device, Entry, Tenant
from registry.secrets import digest
from registry.store import RegistryStore
from registry.view import RegistryView
from tests.fleetline.commanding import done, refused, said

pytestmark = pytest.mark.stack


@pytest.fixture
def van(installation: Settings) -> dict[str, Any]:
    said("tenant", "create", "Acme")
    made: dict[str, Any] = said("device", "create", "Van", "--imei", "1", "--set", "colour=red")
    return made


def credentials(settings: Settings, device_id: str) -> tuple[Credential, ...]:
    with RegistryStore(settings) as store:
        return store.view.credentials_of(device_id)


def test_a_device_is_shown_with_all_there_is_of_it(van: dict[str, Any]) -> None:
    # AC-b06
    gate = said("device", "create", "Gate", "--gateway", "--id", "gate-1")
    child = said("device", "create", "Sensor", "--parent", "Gate", "--dev-eui", "70B3D57ED0001234")
    token = said("device", "token", "Gate")
    flespi = said("credential", "create", "--source", "flespi", "--device", "Gate", "--name", "yard")
    shown = said("device", "show", "Gate")
    assert {key: shown[key] for key in gate} == gate
    assert (shown["tenant"], shown["version"], shown["id"]) == ("Acme", 1, "gate-1")
    assert shown["children"] == [{"id": child["id"], "name": "Sensor"}]
    assert {each["id"] for each in shown["credentials"]} == {token["id"], flespi["id"]}
    printed = done("device", "show", "gate-1").stdout
    for each in ("Acme", child["id"], "Sensor", token["id"], "yard"):
        assert each in printed
    printed = done("device", "show", "Sensor").stdout
    for each in ("70b3d57ed0001234", "Gate (gate-1)"):
        assert each in printed
    assert "none" in done("device", "show", "Van").stdout  # it has no token


def test_a_device_is_changed_by_what_is_given_alone(van: dict[str, Any]) -> None:
    # AC-b05
    said("device", "create", "Gate", "--gateway", "--id", "gate-1")
    made = said("device", "update", "Van", "--dev-eui", "70-B3-D5-7E-D0-00-12-34", "--set", "owner=ada")
    assert made["attributes"] == {
        **van["attributes"],
        "owner": "ada",
        "integration.lorawan.dev_eui": "70b3d57ed0001234",
    }
    assert (made["name"], made["imei"], made["version"]) == ("Van", "1", 2)
    made = said("device", "update", van["id"], "--name", "Vän", "--imei", "", "--unset", "owner", "--parent", "Gate")
    assert (made["name"], made["imei"], made["parent_id"], made["version"]) == ("Vän", None, "gate-1", 3)
    assert "owner" not in made["attributes"]
    made = said("device", "update", "Vän", "--no-parent", "--gateway", "--external-id", "E-1")
    assert (made["parent_id"], made["gateway"], made["external_id"]) == (None, True, "E-1")
    assert said("device", "update", "Vän", "--no-gateway")["gateway"] is False
    assert said("device", "update", "Vän", "--external-id", "")["external_id"] == van["id"]  # AC-b04
    assert "version 6" in done("device", "update", "Vän", "--set", "colour=red").stdout  # says nothing new


def test_a_change_made_from_an_older_version_is_refused(van: dict[str, Any]) -> None:
    assert said("device", "update", "Van", "--name", "A", "--version", "1")["version"] == 2
    assert "at version 2 by now, not 1" in refused("device", "update", "A", "--name", "B", "--version", "1")
    assert "at version 2 by now" in refused("device", "delete", "A", "--version", "1", typed="y\n")
    assert said("device", "show", "A")["version"] == 2


REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("show", "nobody"), "`fleetline device list` shows them"),
    (("update", "nobody", "--name", "x"), "no device 'nobody'"),
    (("delete", "nobody"), "no device 'nobody'"),
    (("token", "nobody"), "no device 'nobody'"),
    (("show", "Van", "--tenant", "nobody"), "no tenant 'nobody'"),
    (("update", "Van"), "nothing to change"),
    (("update", "Van", "--set", "colour"), "NAME=VALUE"),
    (("update", "Van", "--imei", "1", "--set", "imei=2"), "given twice"),
    (("update", "Van", "--unset", "colour", "--set", "colour=2"), "given twice"),
    (("update", "Van", "--parent", "x", "--no-parent"), "exclude each other"),
    (("update", "Van", "--parent", "Van"), "no gateway"),
    (("update", "Van", "--dev-eui", "12"), "DevEUI"),
    (("update", "Van", "--name", " "), "empty"),
    (("create", "Van"), "already"),
    (("create", "Other", "--imei", "1"), "taken"),
    (("token", "Van", "--revoke"), "has no token"),
    (("token", "Van", "--source", "nope"), "flespi"),
    (("token", "Van", "--source", "ttn"), "fleetline tenant secret"),
    (("token", "Van", "--rotate", "--revoke"), "exclude each other"),
    (("token", "Van", "--overlap", "1h"), "goes with --rotate"),
    (("token", "Van", "--rotate", "--overlap", "24"), "no length of time"),
    (("token", "Van", "--source", "flespi", "--rotate", "--overlap", "91d"), "an overlap is"),
    (("list", "--after", "nobody"), "--after"),
)


def test_what_cannot_be_done_is_said_in_one_line(van: dict[str, Any]) -> None:
    said("tenant", "create", "Beta")
    said("device", "token", "Van", "--source", "flespi")
    for arguments, complaint in REFUSED:
        given = (*arguments, "--tenant", "Acme") if arguments[0] == "create" else arguments
        assert complaint in refused("device", *given), arguments
    assert said("device", "list") == [van]


def test_a_name_that_several_tenants_use_needs_the_tenant(van: dict[str, Any]) -> None:
    said("tenant", "create", "Beta")
    other = said("device", "create", "Van", "--tenant", "Beta")
    assert "2 devices are called 'Van'" in refused("device", "show", "Van")
    assert said("device", "show", "Van", "--tenant", "Beta")["id"] == other["id"]
    assert said("device", "show", van["id"])["id"] == van["id"]
    assert "no device" in refused("device", "show", van["id"], "--tenant", "Beta")


def test_deleting_asks_and_says_what_goes_with_it(installation: Settings, van: dict[str, Any]) -> None:
    said("device", "token", "Van")
    said("credential", "create", "--source", "flespi", "--device", "Van")
    question = refused("device", "delete", "Van", typed="n\n")
    assert f"Van ({van['id']}) of Acme and 2 credentials" in question
    assert "Aborted!" in refused("device", "delete", "Van", typed="")  # nobody there to answer
    assert said("device", "show", "Van")
    assert done("device", "delete", "Van", typed="y\n").stdout.split("\n")[1].startswith("deleted Van")
    assert said("credential", "list") == []
    again = said("device", "create", "Van")
    assert said("device", "delete", "Van", "--yes") == {"id": again["id"], "deleted": True, "credentials": 0}
    assert said("device", "list") == []


def test_a_gateway_with_devices_behind_it_is_not_even_asked_about(installation: Settings) -> None:
    # AC-b06
    said("tenant", "create", "Acme")
    said("device", "create", "Gate", "--gateway")
    said("device", "create", "Sensor", "--parent", "Gate")
    complaint = refused("device", "delete", "Gate", typed="y\n")
    assert "1 devices behind it" in complaint
    assert "Delete" not in complaint
    assert "behind it" in refused("device", "update", "Gate", "--no-gateway")


def test_a_token_is_made_once_rotated_with_an_overlap_and_taken_back(
    installation: Settings, van: dict[str, Any]
) -> None:
    # AP-b01, AC-b09
    first = said("device", "token", "Van")
    assert (first["device_id"], first["source"], first["former_until"]) == (van["id"], "device", None)
    assert "it cannot be shown again" in refused("device", "token", "Van")
    (kept,) = credentials(installation, van["id"])
    assert kept.digest == digest(first["secret"])

    second = said("device", "token", "Van", "--rotate", "--overlap", "1h30m")
    (kept,) = credentials(installation, van["id"])
    assert (kept.id, kept.digest, kept.former_digest) == (
        first["id"],
        digest(second["secret"]),
        digest(first["secret"]),
    )
    assert second["former_until"] is not None
    with RegistryStore(installation) as store:
        opened = [store.view.credential_for("device", False, each["secret"]) for each in (first, second)]
    assert [each and each.id for each in opened] == [first["id"]] * 2
    assert second["former_until"] in done("device", "show", "Van").stdout

    printed = done("device", "token", "Van", "--rotate", "--overlap", "0")
    assert "former" not in printed.stdout
    assert "fleetline device connect" in printed.stderr
    (kept,) = credentials(installation, van["id"])
    assert (kept.former_digest, kept.former_until_us) == ("", 0)
    assert digest(printed.stdout.rsplit(" ", 1)[-1].strip()) == kept.digest

    assert said("device", "token", "Van", "--revoke") == {
        "device_id": van["id"], "source": "device", "revoked": [first["id"]]
    }  # fmt: skip
    assert credentials(installation, van["id"]) == ()


def test_the_usual_overlap_is_a_day(installation: Settings, van: dict[str, Any]) -> None:
    # AC-b09
    said("device", "token", "Van")
    said("device", "token", "Van", "--rotate")
    (kept,) = credentials(installation, van["id"])
    with RegistryStore(installation) as store:
        changed = store.view.credential(kept.id)
    assert changed is not None
    assert 0 < changed.former_until_us - changed.created_us - 86_400e6 < 60e6


@pytest.fixture
def many(installation: Settings) -> list[str]:
    """250 devices of two tenants, by tenant and id."""
    entries: list[Entry] = [Tenant(id=each, name=each.upper()) for each in ("a", "b")]
    entries += [
        Device(id=f"{number:03}", tenant_id="ab"[number % 2], name=f"N {number}", attributes={"imei": f"{number:04}"})
        for number in range(250)
    ]
    with RegistryStore(installation) as store:
        store.put(entries)
    return [f"{number:03}" for number in (*range(0, 250, 2), *range(1, 250, 2))]


def test_a_long_list_comes_in_parts_that_say_how_to_go_on(many: list[str]) -> None:
    seen: list[str] = []
    command = ["device", "list", "--limit", "60"]
    while command:
        result = done(*command, "--json")
        seen += [each["id"] for each in orjson.loads(result.stdout)]
        hint = result.stderr.partition("go on with: ")[2].strip()
        assert ("(250 in all)" in result.stderr) == bool(hint)
        command = shlex.split(hint)[1:]
    assert seen == many
    assert len(said("device", "list")) == 100
    assert [each["id"] for each in said("device", "list", "--all")] == many
    assert len(said("device", "list", "--tenant", "B", "--after", "200x")) == 25
    assert "go on with" not in done("device", "list", "--tenant", "B", "--after", "200x").stderr


def test_a_search_finds_an_exact_id_of_any_kind(many: list[str]) -> None:
    for wanted in ("0042", "042", "N 42"):
        assert [each["id"] for each in said("device", "list", "--search", wanted)] == ["042"]
    said("device", "update", "042", "--dev-eui", "70b3d57ed0001234", "--custom2", "C", "--external-id", "E")
    for wanted in ("70:B3:D5:7E:D0:00:12:34", "C", "E"):
        assert [each["id"] for each in said("device", "list", "--search", wanted)] == ["042"]
    assert said("device", "list", "--search", "0042", "--tenant", "B") == []
    assert said("device", "list", "--search", "04") == []


def test_parts_of_any_size_make_the_whole_list() -> None:
    view = RegistryView()
    for number in range(7):
        device = Device(id=f"d{number}", tenant_id="abc"[number % 3], name=str(number))
        view.apply(f"device/d{number}", msgspec.json.encode(device))
    whole = [each.id for each in listed(view, Device, ["a", "b", "c"], Part(whole=True))[0]]
    assert whole == ["d0", "d3", "d6", "d1", "d4", "d2", "d5"]
    for limit in range(1, 9):
        seen, after, more = [], "", True
        while more:
            part, more = listed(view, Device, ["a", "b", "c"], Part(after, limit))
            seen += [each.id for each in part]
            after = part[-1].id
        assert seen == whole
