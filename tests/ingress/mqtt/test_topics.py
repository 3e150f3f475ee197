"""Topics as the sources declare them."""

from typing import Any

import msgspec
import pytest

from fleetline.errors import FleetlineError
from ingress.mqtt.topics import TopicMap
from sources.catalog import load_source
from sources.contract import Source


def source(name: str, *topics: str, **more: Any) -> Source:
    return msgspec.structs.replace(load_source("generic"), name=name, mqtt_topics=topics, **more)


def test_a_source_takes_part_by_declaring_its_topics() -> None:
    own = source("own", "acme/{serial}/data", "acme/all")
    topics = TopicMap([load_source("device"), own, load_source("flespi")])
    assert topics.sources == ("device", "own")
    found = topics.find("acme/17/data")
    assert found is not None
    assert (found[0].source, found[0].template, found[0].is_secret, found[1]) == (
        "own",
        "acme/{serial}/data",
        False,
        "17",
    )
    assert topics.find("acme/all") is not None
    assert [topics.find(each) for each in ("acme/17/18/data", "acme//data", "acme", "acme/17", "Acme/all")] == [
        None
    ] * 5


def test_the_word_me_is_no_token() -> None:
    # AC-a11
    found = TopicMap([load_source("device")]).find("v1/devices/me/telemetry")
    assert found is not None
    assert (found[0].template, found[1]) == ("v1/devices/me/telemetry", "")


@pytest.mark.parametrize("template", ["", "/a", "a//b", "a/+", "a/#", "a/{b", "a/b}", "a/x{b}", "{a}/{b}", "a\0"])
def test_a_topic_that_is_none_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(FleetlineError, match="is no MQTT topic"):
        TopicMap([source("own", template)])


@pytest.mark.parametrize("template", ["v1/devices/me/telemetry", "devices/{serial}/telemetry"])
def test_a_topic_belongs_to_one_source(template: str) -> None:
    with pytest.raises(FleetlineError, match="it is taken"):
        TopicMap([load_source("device"), source("own", template)])


def test_what_stands_in_a_log_holds_no_token() -> None:
    # AC-c07
    topics = TopicMap([load_source("device")])
    assert topics.redacted("v1/devices/SECRET/rpc") == "v1/devices/…/…"
    assert topics.redacted("SECRET/me") == "…/me"
    assert len(topics.redacted("x/" * 10_000)) < 20


def test_only_subscriptions_beside_ones_own_topics_are_ones_own() -> None:
    topics = TopicMap([load_source("device")])
    own = ("v1/devices/me/rpc/request/+", "v1/gateway/#", "devices/T/x", "v1/devices/T/attributes", "v1/devices/me/+")
    assert all(topics.is_own(each, "T") for each in own)
    others = ("#", "+/+/+", "v1/devices/+/x", "devices/U/x", "devices/TT/x", "v1/devices/meme", "v1/#", "")
    assert not any(topics.is_own(each, "T") for each in others)
