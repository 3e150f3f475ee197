"""A store that works on the view its process follows the registry with: the same promises, and nothing in memory twice."""

from collections.abc import Iterator

import pytest

from fleetline.kafka_admin import delete_topics
from fleetline.settings import Settings
from registry.errors import Conflict, RegistryUnavailable
from registry.follower import RegistryFollower
from registry.model import Device
from registry.rules import devices
from registry.store import RegistryStore

pytestmark = pytest.mark.stack


@pytest.fixture
def follower(topics: Settings) -> Iterator[RegistryFollower]:
    started = RegistryFollower(topics)
    started.start()
    try:
        assert started.wait_caught_up(20)
        yield started
    finally:
        started.stop()


def test_it_sees_what_others_wrote_before_each_change_and_its_own_after_it(
    topics: Settings, follower: RegistryFollower
) -> None:
    with RegistryStore(topics, "test:other") as other, RegistryStore(topics, "test", follower) as store:
        tenant = other.create_tenant("Acme")
        assert store.view is follower.view
        for number in range(10):
            made = other.create_device(tenant, f"van {number}", imei=f"{number}")
            with pytest.raises(Conflict):
                store.create_device(tenant, "another", imei=f"{number}")
            mine = store.change(lambda draft, made=made: devices.change_device(draft, made, name=f"car {made.name}"))  # type: ignore[misc]
            standing = follower.view.device(made.id)
            assert standing == mine, "the change is not seen yet"
        assert len(other.refresh().devices(tenant.id)) == 10


def test_of_many_on_one_view_and_of_others_exactly_one_gets_an_id(topics: Settings, follower: RegistryFollower) -> None:
    import threading

    with RegistryStore(topics) as store:
        tenant = store.create_tenant("Acme")
    outcomes: list[str] = []

    def claim(number: int) -> None:
        with RegistryStore(topics, f"test:{number}", follower if number % 2 else None) as mine:
            try:
                mine.create_device(tenant, f"van {number}", imei="1")
                outcomes.append("created")
            except Conflict:
                outcomes.append("refused")

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["created", "refused", "refused", "refused"]


def test_a_follower_that_has_stopped_changes_nothing(topics: Settings, follower: RegistryFollower) -> None:
    with RegistryStore(topics) as store:
        tenant = store.create_tenant("Acme")
    follower.stop()
    with RegistryStore(topics, "test", follower) as mine, pytest.raises(RegistryUnavailable):
        mine.create_device(tenant, "van")
    with RegistryStore(topics) as store:
        assert store.view.owned(Device, tenant.id) == ()


def test_of_a_topic_made_anew_it_says_so_until_the_follower_follows_that(
    topics: Settings, follower: RegistryFollower
) -> None:
    with RegistryStore(topics, "test", follower) as mine:
        mine.create_tenant("Old")
        delete_topics(topics)
        with RegistryStore(topics) as store:
            store.create_tenant("New")
        for _ in range(20):
            try:
                mine.create_tenant("Newer")
                break
            except RegistryUnavailable:
                continue
        assert [each.name for each in mine.refresh().tenants()] == ["New", "Newer"]
