"""What the documents name is there: every relative link, every command and every option."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fleetline.cli import main

ROOT = Path(__file__).parent.parent
TRACKED = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
DOCUMENTS = sorted(name for name in TRACKED.split("\0") if name and (ROOT / name).exists())

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[\s|(])fleetline ([a-z].*)")


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/ingress.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    path = ROOT / document
    broken = [link for link in _links(path.read_text("utf-8")) if not _resolves(path, link)]
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_exists(document: str) -> None:
    unknown = [line for line in _commands((ROOT / document).read_text("utf-8")) if not _is_known(line)]
    assert not unknown


@pytest.mark.parametrize(
    "line", ["serv ingress", "up --prot 1", "credential crate --source flespi", "tenant create --jsn x"]
)
def test_what_does_not_exist_is_noticed(line: str) -> None:
    assert not _is_known(line)


def test_a_broken_link_is_noticed() -> None:
    readme = ROOT / "README.md"
    assert _resolves(readme, "CONTRIBUTING.md#adding-a-source")
    assert not _resolves(readme, "CONTRIBUTING.md#adding-a-sauce")
    assert not _resolves(readme, "docs/nowhere.md")
    assert _links("a [x](y.md) `[a](b)` [z](https://example.com)\n```\n[c](d)\n```\n") == ["y.md"]


def _links(text: str) -> list[str]:
    found = _LINK.findall(_INLINE.sub("", _FENCED.sub("", text)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def _resolves(document: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    if not target.exists():
        return False
    return not anchor or anchor in {
        _slug(each) for each in _HEADING.findall(_FENCED.sub("", target.read_text("utf-8")))
    }


def _slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")


def _commands(text: str) -> Iterator[str]:
    """Yield what stands behind `fleetline` in code, one command line each."""
    fenced = "\n".join(_FENCED.findall(text)).replace("\\\n", " ")
    for line in [*fenced.splitlines(), *_INLINE.findall(_FENCED.sub("", text))]:
        for command in _COMMAND.findall(line.partition("   #")[0]):
            yield re.split(r"\s[|&;]|\\\|", command)[0]


def _is_known(line: str) -> bool:
    """Tell whether a command and its options exist. Words behind it are arguments, and not looked at."""
    command: click.Command = main
    context = click.Context(main)
    try:
        words = shlex.split(line)
    except ValueError:  # a quotation that goes on in the next line
        words = line.split()
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        if found is None:
            return False
        command, words = found, words[1:]
    options = {option for each in command.get_params(context) for option in each.opts + each.secondary_opts}
    return all(word.partition("=")[0] in options for word in words if re.match(r"--?[a-z]", word))
