"""Bodies as Digital Matter's connector sends them, and what becomes of them."""

from typing import Any

import orjson

from schemas.view import telemetry_view
from sources.contract import Request
from sources.digital_matter import SOURCE
from sources.engine import Canonical, Defect, canonicalize

RECEIVED_US = 1_767_323_045_000_000
GPS = {
    "GpsUTC": "2017-05-08 18:04:57",
    "Lat": 43.7370138,
    "Long": -79.3462607,
    "Alt": 197,
    "Spd": 1389,
    "SpdAcc": 13,
    "Head": 66,
    "PDOP": 18,
    "PosAcc": 37,
    "GpsStat": 7,
    "FType": 0,
}
EDGE = {
    "date": "2021-10-04T18:14:55Z",
    "device": {
        "sn": "403809",
        "prod": 85,
        "rev": 1,
        "fw": "1.12",
        "iccid": "89011702278483601922",
        "imei": "352656106127312",
    },
    "sqn": 40925,
    "reason": 1,
    "lat": 26.87366,
    "lng": -80.10618,
    "posAcc": 47.7,
    "posInfo": {"GDOP": 4.68, "BSat": 2, "GSat": 4, "Src": 1},
    "analogues": [{"id": 1, "val": 4265}, {"id": 3, "val": 3800}, {"id": 4, "val": 16}, {"id": 5, "val": 4255}],
    "inputs": 1,
    "outputs": 0,
    "status": 137,
}


def record(*fields: Any, **parts: Any) -> dict[str, Any]:
    return {"SeqNo": 125, "Reason": 11, "DateUTC": "2017-05-11 05:58:44", "Fields": list(fields), **parts}


def body(*records: Any, **parts: Any) -> dict[str, Any]:
    envelope = {
        "SerNo": 131693,
        "IMEI": "356692063643328",
        "ICCID": "8944538523010771676",
        "ProdId": 33,
        "FW": "33.4.1.27",
    }
    return {**envelope, "Records": list(records), **parts}


def request(content: Any, **parts: Any) -> Request:
    return Request(body=orjson.dumps(content), received_us=RECEIVED_US, tenant_id="t", credential_id="c", **parts)


def made(content: Any, **parts: Any) -> list[Canonical | Defect]:
    return list(canonicalize(SOURCE, request(content, **parts)))


def views(content: Any, **parts: Any) -> list[dict[str, Any]]:
    everything = made(content, **parts)
    assert not [each for each in everything if isinstance(each, Defect)]
    return [telemetry_view(each.record) for each in everything if isinstance(each, Canonical)]


def view(*fields: Any, **parts: Any) -> dict[str, Any]:
    (only,) = views(body(record(*fields)), **parts)
    return only


def ids(content: Any) -> list[bytes]:
    return [each.record["id"] for each in made(content) if isinstance(each, Canonical)]
