"""How to send to a source: its URLs, and a request to paste into a shell, both taken from its declaration and samples."""

import shlex
from collections.abc import Iterator

from sources.catalog import load_sources
from sources.contract import Source
from sources.samples import Sample, load_samples

_OF_THE_CONNECTION = {
    "host",
    "content-length",
    "connection",
    "accept-encoding",
    "transfer-encoding",
    "user-agent",
    "accept",
}


def webhook_urls(base_url: str, tenant_id: str) -> list[dict[str, str]]:
    """List the URLs a tenant's integration secret opens, the tenant's id filled in."""
    return [
        {"source": source.name, "title": source.title, "url": f"{base_url}{path}{_tenant_query(source, tenant_id)}"}
        for source in load_sources().values()
        if source.tenant_secret
        for path in (*(path for path in source.paths if "{" not in path), f"/in/{source.name}")
    ]


def _tenant_query(source: Source, tenant_id: str) -> str:
    return f"?{source.tenant_query}={tenant_id}" if source.tenant_query else ""


def curl_line(source: Source, base_url: str, secret: str, tenant_id: str, *, for_device: bool) -> str:
    """Write a curl command that sends one bundled sample of the source with its real headers and this secret."""
    sample = _plainest_sample(source, for_device=for_device)
    if sample is None:
        headers, path, query, body = {"authorization": f"Bearer {secret}"}, f"/in/{source.name}", "", "{}"
        method = source.methods[0]
    else:
        path, query, headers = sample.filled(secret, tenant_id)
        method, body = sample.request.method, sample.request.body_bytes().decode()
    return " ".join(_words(f"{base_url}{path}{f'?{query}' if query else ''}", method, headers, body))


def _words(url: str, method: str, headers: dict[str, str], body: str) -> Iterator[str]:
    yield "curl -sS -i"
    if method != "POST":
        yield f"-X {shlex.quote(method)}"
    yield shlex.quote(url)
    for name, value in headers.items():
        if name not in _OF_THE_CONNECTION:
            yield f"-H {shlex.quote(f'{name}: {value}' if value else f'{name};')}"
    if body or method == "POST":
        yield f"--data-raw {shlex.quote(body)}"


def _plainest_sample(source: Source, *, for_device: bool) -> Sample | None:
    """Choose the shortest readable sample that a shell can hold, one made for such a credential if there is one."""
    readable = [
        sample
        for sample in load_samples(source.name).values()
        if sample.canonical
        and sample.request.body_base64 is None
        and not any(name.lower() == "content-encoding" for name in sample.request.headers)
    ]
    return min(
        readable,
        key=lambda sample: (
            ("device" in sample.credential) != for_device,
            len(sample.quarantined),
            len(sample.request.body_bytes()),
        ),
        default=None,
    )
