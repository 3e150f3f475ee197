"""flespi on the real Kafka and ClickHouse: which of two copies stays, and how an indexed parameter is read as an array."""

from typing import Any

import orjson
import pytest

from fleetline.settings import Settings
from schemas.records import telemetry_writer
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
from sinks.clickhouse.migrate import migrate
from sources.catalog import FOLDER
from sources.contract import Request
from sources.engine import Canonical, canonicalize
from sources.flespi import SOURCE
from tests.support import committed, produce, until

pytestmark = pytest.mark.stack

CHANNEL = {"ident": "1", "timestamp": 1700000000.5, "server.timestamp": 1700000001, "din": 1}
REGISTERED = CHANNEL | {"device.id": 7, "device.name": "Van", "device.type.id": 19}
INDEXED = {"ident": "2", "timestamp": 1700000000} | {f"adc.voltage#{number}": number / 2 for number in (10, 2, 1)}


def records(batch: list[dict[str, Any]]) -> list[tuple[bytes, bytes, list[Any]]]:
    request = Request(body=orjson.dumps(batch), received_us=1_700_000_005_000_000, tenant_id="t", credential_id="c")
    write = telemetry_writer()
    made = [each.record for each in canonicalize(SOURCE, request) if isinstance(each, Canonical)]
    for record in made:
        record["device_id"] = f"device-{record['source_device']}"
    return [(record["device_id"].encode(), write(record), []) for record in made]


def array_of(family: str) -> str:
    """Return the expression that the README gives, for one family."""
    readme = (FOLDER / "flespi" / "README.md").read_text(encoding="utf-8")
    return readme.partition("```sql\n")[2].partition("\n```")[0].replace("adc.voltage", family)


@pytest.mark.parametrize("batches", [[[CHANNEL], [REGISTERED]], [[REGISTERED], [CHANNEL]]])
def test_of_two_copies_in_two_batches_the_richer_one_is_stored(
    topics: Settings, batches: list[list[dict[str, Any]]]
) -> None:
    # FL-a10, FL-a22
    with connect(topics) as client:
        migrate(client)
        loader = Loader(topics, client, max_records=1, linger_s=0.05)
        try:
            for batch in [*batches, *batches]:  # and the whole once more: our 200 was lost
                produce(topics, topics.topics.telemetry, records(batch))
                load(topics, loader)
            rows = client.query("SELECT numbers, texts FROM telemetry").result_rows
        finally:
            loader.close()
            client.command(f"DROP DATABASE {topics.topic_prefix.strip('.')}")
    assert rows == [({"din": 1.0, "device.id": 7.0, "device.type.id": 19.0}, {"device.name": "Van"})]


def test_an_indexed_parameter_is_read_as_an_array_in_the_order_of_its_numbers(topics: Settings) -> None:
    # FL-a16
    with connect(topics) as client:
        migrate(client)
        loader = Loader(topics, client, max_records=100, linger_s=0.05)
        try:
            produce(topics, topics.topics.telemetry, records([INDEXED, CHANNEL]))
            load(topics, loader)
            rows = client.query(f"SELECT {array_of('adc.voltage')} FROM telemetry ORDER BY device_id").result_rows
        finally:
            loader.close()
            client.command(f"DROP DATABASE {topics.topic_prefix.strip('.')}")
    assert rows == [([],), ([0.5, 1.0, 5.0],)]


def load(settings: Settings, loader: Loader) -> None:
    """Load until everything that is in the topic is committed."""
    group = f"{settings.topic_prefix}clickhouse"

    def at_end() -> bool:
        for _ in range(5):
            loader.step()
        done, end = committed(settings, group, settings.topics.telemetry)
        return done == end

    until(at_end, 60)
