"""Every simulated sender writes what its source understands, and never the same reading twice."""

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from fleetline.errors import FleetlineError
from fleetline.simulator import expected
from fleetline.simulator.catalog import chosen_profiles, load_profiles
from fleetline.simulator.expected import expected_records
from fleetline.simulator.faults import Fault, parse_faults
from fleetline.simulator.fleet import Given, GivenCredentials, given_fleet, new_fleet
from fleetline.simulator.profile import Profile, SimDevice
from fleetline.simulator.road import Drive
from registry.model import Credential
from registry.view import RegistryView, entry_key
from schemas.times import now_us
from sources.catalog import load_source, source_names
from sources.contract import Identity, OnFailure

PROFILES = tuple(load_profiles().values())
READINGS = 60


def written(profile: Profile, devices: int = 4) -> list[tuple[SimDevice, list[Any]]]:
    made = []
    for device in new_fleet((profile,), devices).devices[profile.name]:
        chance = random.Random(f"7:{device.number}")
        drive, start = Drive(chance), now_us() - READINGS * 1_000_000
        moments = [drive.at(start + n * 1_000_000) for n in range(READINGS)]
        made.append((device, [profile.write(device, moment, chance) for moment in moments]))
    return made


def test_every_source_has_a_sender() -> None:
    assert {profile.source for profile in PROFILES} == set(source_names())


def test_every_transport_of_a_source_has_a_sender() -> None:
    played = {(profile.source, profile.transport) for profile in PROFILES}
    for source in map(load_source, source_names()):
        assert (source.name, "http") in played
        assert ((source.name, "mqtt") in played) is bool(source.mqtt_topics)
        assert ((source.name, "websocket") in played) is source.websocket


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_reading_is_one_record_of_its_own_that_is_the_same_whenever_it_is_accepted(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [(device, profile.request(device, [item])) for device, items in written(profile) for item in items]
    now = [expected_records(device, request) for device, request in requests]
    assert {len(records) for records in now} == {1}
    assert len({records[0].id for records in now}) == len(requests)
    later = now_us() + 7 * 86_400_000_000  # AutoPi's fail queue lives that long
    monkeypatch.setattr(expected, "now_us", lambda: later)
    assert [expected_records(device, request) for device, request in requests] == now


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_reading_keeps_its_id_in_whatever_batch_it_comes(profile: Profile) -> None:
    for device, items in written(profile):
        size = profile.behaviour.batch
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        whole = [record for batch in batches for record in expected_records(device, profile.request(device, batch))]
        single = [record for item in items for record in expected_records(device, profile.request(device, [item]))]
        assert len(whole) == len(single)
        assert set(whole) == set(single)  # a gateway sorts a batch by its children


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_registry_finds_every_simulated_device_by_what_its_sender_calls_it(profile: Profile) -> None:
    fleet = new_fleet((profile,), 3)
    view = RegistryView()
    for entry in fleet.entries:
        view.apply(entry_key(entry), msgspec.json.encode(entry))
    for device in fleet.devices[profile.name]:
        source = load_source(profile.source)
        assert view.credential_for(source.name, source.tenant_secret, device.secret) is not None
        kinds = [Identity(kind, getattr(device, kind)) for kind in profile.known_by]
        assert view.identify(fleet.tenant_id, device.credential_device_id, kinds, "").device_id == device.id


def test_no_request_shows_the_secret_when_it_is_printed() -> None:
    for profile in PROFILES:
        device, items = written(profile, 1)[0]
        assert device.secret not in repr(device)
        if profile.name not in {"device", "traccar"}:  # there the secret is a part of the path or the query
            assert device.secret not in repr(profile.request(device, items[:1]))


@pytest.mark.parametrize("source", source_names())
def test_only_senders_that_drop_are_declared_to_drop(source: str) -> None:
    behaviour = load_profiles()[source].behaviour
    drops = load_source(source).on_failure is OnFailure.DROPS
    if source != "device":  # the client's choice: the simulated one is careful, the ingress assumes the worst
        assert (behaviour.on_error.name == "DROP") == drops


def test_what_a_source_does_not_understand_is_a_mistake_of_the_profile() -> None:
    profile = load_profiles()["flespi"]
    device = new_fleet((profile,), 1).devices["flespi"][0]
    with pytest.raises(FleetlineError, match="no_ident"):
        expected_records(device, profile.request(device, [{"timestamp": 1}]))


def test_an_unknown_sender_is_answered_with_the_known_ones() -> None:
    with pytest.raises(FleetlineError, match=r"no sender 'nobody' to simulate; there are: autopi, biketrax, .*, all"):
        chosen_profiles("nobody")
    assert chosen_profiles("all") == PROFILES
    assert chosen_profiles("device-mqtt")[0].transport == "mqtt"


def test_an_unknown_fault_is_answered_with_the_known_ones() -> None:
    with pytest.raises(FleetlineError, match="no fault 'earthquake'; there are: lost-ack, duplicate, broker-restart"):
        parse_faults("slow,earthquake")
    assert parse_faults("lost-ack, slow") == {Fault.LOST_ACK, Fault.SLOW}
    assert parse_faults("") == frozenset()


def test_a_vehicle_moves_no_faster_than_vehicles_do_and_never_stands_still_in_time() -> None:
    drive = Drive(random.Random(1))
    moments = [drive.at(1_700_000_000_000_000 + n * 1_000_000) for n in range(2000)]
    metres = [abs(one.latitude - two.latitude) * 111_320 for one, two in pairwise(moments)]
    assert max(metres) < 25  # m/s: 90 km/h
    assert moments[-1].odometer_m - moments[0].odometer_m > 5000
    assert drive.at(0).time_us > moments[-1].time_us


def test_every_device_number_is_used_once_and_every_sender_has_one() -> None:
    fleet = new_fleet(PROFILES, 5)
    devices = [device for many in fleet.devices.values() for device in many]
    assert sorted(device.number for device in devices) == list(range(1, len(devices) + 1))
    assert {name: len(many) for name, many in fleet.devices.items()} == {
        profile.name: 1 + bool(profile.children) for profile in PROFILES
    }
    assert len({device.dev_eui for device in devices}) == len({device.imei for device in devices}) == len(devices)
    assert isinstance(fleet.entries[-1], Credential)  # the last one known means that all are


def test_existing_credentials_are_used_and_missing_ones_named() -> None:
    profiles = chosen_profiles("flespi") + chosen_profiles("ttn")
    given = GivenCredentials("tenant-1", (Given("flespi", "s1"), Given("integration", "s2", credential_id="c2")))
    fleet = given_fleet(profiles, 4, given)
    assert {device.secret for device in fleet.devices["ttn"]} == {"s2"}
    assert not fleet.entries
    assert not fleet.own_tenant
    with pytest.raises(FleetlineError, match="none for flespi"):
        given_fleet(profiles, 4, GivenCredentials("tenant-1", given.credentials[1:]))
    with pytest.raises(FleetlineError, match="with its device_id"):
        given_fleet(chosen_profiles("device"), 1, GivenCredentials("t", (Given("device", "s"),)))


def test_a_device_token_in_the_path_is_recognised_by_the_source() -> None:
    profile = load_profiles()["device"]
    device = new_fleet((profile,), 1).devices["device"][0]
    other = replace(device, credential_device_id="another")
    items = written(profile, 1)[0][1][:1]
    ours, theirs = (expected_records(each, profile.request(each, items)) for each in (device, other))
    assert ours != theirs
