"""The URLs a tenant gives to platforms, and which of their headers holds the secret."""

from typing import Any
from urllib.parse import quote

from fleetline.connectivity.addresses import addresses
from fleetline.settings import Settings
from sources.catalog import load_sources
from sources.contract import Source
from sources.credentials import Place, places_of
from sources.routes import routes


def webhook_urls(settings: Settings, tenant_id: str) -> list[dict[str, Any]]:
    """List what a tenant's integration secret opens: URLs with the tenant's id in them, and the header to set (AC-b07)."""
    base_url = addresses(settings).http.url
    return [
        {
            "source": source.name,
            "title": source.title,
            "url": f"{base_url}{route}{tenant_query(source, tenant_id)}",
            "header": header_of(source),
        }
        for source in load_sources().values()
        if source.tenant_secret
        for route in routes(source)
        if "{" not in route
    ]


def tenant_query(source: Source, tenant_id: str) -> str:
    """Return the query that names the tenant, if the source has one."""
    return f"?{source.tenant_query}={quote(tenant_id, safe='{}')}" if source.tenant_query else ""


def places(source: Source) -> list[Place]:
    """List where the source looks for its secret, in order."""
    return list(dict.fromkeys(place for extract in source.credentials for place in places_of(extract)))


def header_of(source: Source) -> str:
    """Return the header a sender sets, as `Name: value` with `{secret}` in it."""
    found = next((place for place in places(source) if place.where == "header"), None)
    return "" if found is None else f"{found.name.title()}: {found.value}"
