"""Golden records: what today's normalizers make of every bundled sample, written into the sample for review.

`python -m sources.golden` rewrites `canonical`, `quarantined` and `key`; `git diff` then shows what a change did to
every sender. The contract suite compares against the committed files, never against a fresh run.
"""

import sys
from typing import Any
from urllib.parse import parse_qsl

import orjson

from schemas.view import telemetry_view
from sources.catalog import load_source, source_names
from sources.contract import Request, Source
from sources.engine import Canonical, canonicalize
from sources.samples import SAMPLE_TENANT, Sample, load_samples, route_parts, sample_files

SECRET = "sample-secret"  # noqa: S105  stands for the credential in samples, opens nothing


def sample_request(source: Source, sample: Sample) -> Request:
    """Build the request as the normalizer sees it: no secrets, captured headers only."""
    path, query, headers = sample.filled(SECRET, SAMPLE_TENANT)
    parts = {name: part for name, part in route_parts(source, path).items() if name not in source.secret_path_parts}
    return Request(
        body=sample.request.body_bytes(),
        method=sample.request.method,
        path=path,
        path_params=parts,
        query={key: value for key, value in parse_qsl(query, keep_blank_values=True) if key not in source.secret_query},
        headers={name: value for name, value in headers.items() if name in source.captured_headers},
        content_type=headers.get("content-type", ""),
        received_us=sample.received_us,
        tenant_id=SAMPLE_TENANT,
        credential_id="sample-credential",
        device_id=sample.credential.get("device", ""),
    )


def outcome(source: Source, sample: Sample) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the JSON views of the records and `{reason, index}` of the defects, before devices are identified."""
    views: list[dict[str, Any]] = []
    defects: list[dict[str, Any]] = []
    for made in canonicalize(source, sample_request(source, sample)):
        if isinstance(made, Canonical):
            views.append(telemetry_view(made.record))
        else:
            defects.append({"reason": made.reason, "index": made.index})
    return views, defects


def main() -> int:
    """Rewrite every sample's expectations."""
    for name in source_names():
        source = load_source(name)
        samples = load_samples(name)
        for path in sample_files(name):
            written = orjson.loads(path.read_bytes())
            sample = samples[path.stem]
            if sample.status == 200:
                written["canonical"], written["quarantined"] = outcome(source, sample)
                request = sample_request(source, sample)
                written["key"] = source.ordering_key(request) or request.device_id
            path.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            sys.stdout.write(f"{path.relative_to(path.parents[2])}: {len(written.get('canonical', []))} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
