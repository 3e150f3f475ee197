"""The catalogue at the door: public, cacheable, beside the sources' paths and not among them."""

from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from fleetline.errors import FleetlineError
from fleetline.settings import Settings
from ingress.app import build_app
from ingress.published import CATALOG
from sources.catalog import load_sources
from tests.ingress.loopback import Ingress, serving


@pytest.mark.stack
def test_anybody_may_read_the_catalogue() -> None:
    # AC-b01, AC-b02
    house = Ingress(public_api_base_url="https://fleet.example.com", integration_webhook_secret=SecretStr("hidden"))
    with serving(house) as url, httpx.Client(base_url=url) as client:
        answer = client.get(CATALOG)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert "max-age" in answer.headers["cache-control"]
        assert b"hidden" not in answer.content
        made = orjson.loads(answer.content)
        assert [each["name"] for each in made["sources"]] == list(load_sources())
        assert made["base_url"] == "https://fleet.example.com"
        head = client.head(CATALOG)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]
        assert client.get(f"{CATALOG}/").content == answer.content
        unchanged = client.get(CATALOG, headers={"if-none-match": answer.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_nothing_can_be_posted_to_it_and_no_device_is_called_so() -> None:
    house = Ingress()
    async with house.client() as client:
        assert (await client.post(CATALOG, content=b"{}")).status_code == 405
        token = house.credential("device", "d")
        assert (await client.post(f"/api/v1/{token}/telemetry", content=b'{"a": 1}')).status_code == 200
    assert len(house.producer.records) == 1


def test_no_source_can_have_its_path() -> None:
    house: Any = Ingress()
    with pytest.raises(FleetlineError, match="taken"):
        build_app(Settings(path_map={CATALOG: "autopi"}), load_sources(), house, house.producer)
