"""Bundled sample requests: `sources/<name>/samples/*.json`, each a request, what must become of it, and why it is there.

    {"title": "...", "devices": [{"id": "...", "name": "...", "imei": "..."}], "credential": {"device": "<id>"},
     "request": {"method": "POST", "path": "/in/flespi", "query": "", "headers": {"authorization": "Bearer $CREDENTIAL"},
                 "body": <JSON> | "body_text": "..." | "body_base64": "..."},
     "received_at": "2026-01-02T03:04:05Z", "status": 200, "key": "<ordering key>",
     "canonical": [<JSON views>], "quarantined": [{"reason": "...", "index": 0}]}

`$CREDENTIAL`, `$SECRET` and `$TENANT` in the path, the query and header values stand for the secret of the sample's
credential, the same, and the tenant's id. `credential` is `{}` for one that belongs to no device. The same files feed
the contract suite, the golden records, the demo, the simulator and the docs.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from schemas.times import parse_iso_us
from sources.catalog import FOLDER, source_names
from sources.contract import Source
from sources.routes import match

SAMPLE_TENANT = "5a3b1e00-0000-7000-8000-000000000001"


class SampleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request, literally as the sender makes it."""

    path: str
    method: str = "POST"
    query: str = ""
    headers: dict[str, str] = {}
    body: Any = None
    body_text: str | None = None
    body_base64: str | None = None

    def body_bytes(self) -> bytes:
        """Return the body as it goes over the wire."""
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64)
        if self.body_text is not None:
            return self.body_text.encode()
        return b"" if self.body is None else orjson.dumps(self.body)


class SampleDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device that must exist for the sample to be mapped. `id` is literal so that golden records can name it."""

    id: str
    name: str
    external_id: str = ""
    dev_eui: str = ""
    imei: str = ""
    serial: str = ""
    gateway: bool = False
    parent: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bundled request with its expected outcome."""

    title: str
    request: SampleRequest
    received_at: str
    status: int
    key: str = ""
    canonical: list[dict[str, Any]] = []
    quarantined: list[dict[str, Any]] = []
    devices: list[SampleDevice] = []
    credential: dict[str, str] = {}
    evidence: str = ""
    """Where the payload comes from: `real` capture with its origin, or `documented`."""

    @property
    def received_us(self) -> int:
        """Time of reception, fixed so that golden records are stable."""
        return parse_iso_us(self.received_at)

    def filled(self, secret: str, tenant_id: str) -> tuple[str, str, dict[str, str]]:
        """Return path, query and headers with the placeholders filled in."""

        def fill(text: str) -> str:
            return text.replace("$CREDENTIAL", secret).replace("$SECRET", secret).replace("$TENANT", tenant_id)

        headers = {name.lower(): fill(value) for name, value in self.request.headers.items()}
        return fill(self.request.path), fill(self.request.query), headers


def sample_files(source: str) -> list[Path]:
    """List one source's sample files, sorted by name."""
    return sorted((FOLDER / source / "samples").glob("*.json"))


def load_samples(source: str) -> Mapping[str, Sample]:
    """Read one source's samples by file stem. Raises msgspec.ValidationError on a misspelt field."""
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Sample) for path in sample_files(source)}


def all_samples() -> list[tuple[str, str, Sample]]:
    """Read every sample: (source, name, sample)."""
    return [(source, name, sample) for source in source_names() for name, sample in load_samples(source).items()]


def route_parts(source: Source, path: str) -> Mapping[str, str]:
    """Match a concrete path against the source's routes and return its named parts."""
    return match(source, path)[1]
