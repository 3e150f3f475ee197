"""The paths a source is reached on: the doors, the samples and whatever prints a URL read them here."""

from collections.abc import Mapping

from sources.contract import Source


def routes(source: Source) -> list[str]:
    """List a source's routes, without trailing slashes: its own, `/in/<name>`, and both with its optional last part."""
    found = [route.rstrip("/") for route in source.paths]
    found.append(f"/in/{source.name}")
    if source.path_part:
        plain = [route for route in found if route.startswith("/in/") and "{" not in route]
        found.extend(f"{route}/{{{source.path_part}}}" for route in plain)
    return list(dict.fromkeys(found))


def main_route(source: Source) -> str:
    """Return the route to give to people: the first one that nothing has to be put into."""
    return next(route for route in routes(source) if "{" not in route)


def match(source: Source, path: str) -> tuple[str, Mapping[str, str]]:
    """Return the route a concrete path is on and its named parts; an empty route when it is on none."""
    wanted = path.strip("/").split("/")
    for route in routes(source):
        parts = route.strip("/").split("/")
        if len(parts) == len(wanted) and all(t == w or t.startswith("{") for t, w in zip(parts, wanted, strict=True)):
            return route, {t[1:-1]: w for t, w in zip(parts, wanted, strict=True) if t.startswith("{")}
    return "", {}


def parts_of(template: str) -> list[str]:
    """Return the names of a route's or an MQTT topic's variable parts."""
    return [part[1:-1] for part in template.split("/") if part.startswith("{")]
