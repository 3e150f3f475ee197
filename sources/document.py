"""Writes `docs/sources.md`: what each source declares, and which test shows each requirement.

Run with `make docs`. A test shows the requirements whose ids stand in a comment inside it or directly above it.
"""

import ast
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from sources.catalog import load_sources
from sources.contract import Source
from sources.routes import routes

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "sources.md"
REQUIREMENTS = ROOT / "docs" / "requirements.tsv"
SENDERS = {
    "AP": "AutoPi",
    "FL": "flespi",
    "BT": "BikeTrax and Traccar",
    "AC": "Device API, generic webhook, LoRaWAN",
    "DM": "Digital Matter",
}
_ID = re.compile(r"\b[A-Z]{2}-[ab]\d\d\b")
_HEAD = """# Sources

Written by `make docs` from the sources' declarations, `docs/requirements.tsv` and the comments in the tests. Do not edit.

"""


def requirements() -> dict[str, str]:
    """Return every requirement and what it says, by id."""
    lines = REQUIREMENTS.read_text("utf-8").splitlines()
    return {name: text for name, _, text in (line.partition("\t") for line in lines)}


def shown_by() -> dict[str, list[str]]:
    """Return the tests that show each requirement, as `path::test`, by id."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for test, ids in _tests(path):
            for each in ids:
                found.setdefault(each, []).append(f"{path.relative_to(ROOT).as_posix()}::{test}")
    return found


def page() -> str:
    """Return the whole page."""
    return _HEAD + _declared(load_sources()) + _covered(requirements(), shown_by())


def _tests(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every test of a file and the ids in its comments."""
    comments = _comments(path)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        while comments.get(first - 1, ("", False))[1]:
            first -= 1
        lines = range(first, (node.end_lineno or node.lineno) + 1)
        text = " ".join(comments[line][0] for line in lines if line in comments)
        yield node.name, list(dict.fromkeys(_ID.findall(text)))


def _comments(path: Path) -> dict[int, tuple[str, bool]]:
    """Return the comments by line, and whether nothing else stands on it."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return {
        each.start[0]: (each.string, each.line.strip().startswith("#"))
        for each in tokens
        if each.type == tokenize.COMMENT
    }


def _declared(sources: Mapping[str, Source]) -> str:
    lines = ["| source | what it is | routes | without a 200 the sender | normalizer |", "|---|---|---|---|---|"]
    for name, source in sources.items():
        ways = [f"`{path}`" for path in routes(source)]
        ways += [f"MQTT `{topic}`" for topic in source.mqtt_topics]
        if source.websocket:
            ways.append("WebSocket")
        lines.append(
            f"| [`{name}`](../sources/{name}/README.md) | {source.title} | {', '.join(ways)} "
            f"| {source.on_failure.consequence} | {source.version_tag} |"
        )
    return "\n".join(lines) + "\n"


def _covered(wanted: Mapping[str, str], shown: Mapping[str, list[str]]) -> str:
    parts: list[str] = []
    for prefix, sender in SENDERS.items():
        rows = [
            f"| {name} | {text} | {'<br>'.join(_link(test) for test in shown.get(name, ())) or '**none**'} |"
            for name, text in wanted.items()
            if name.startswith(prefix)
        ]
        parts.append("\n".join([f"\n## {sender}\n", "| id | requirement | shown by |", "|---|---|---|", *rows]) + "\n")
    return "".join(parts)


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
