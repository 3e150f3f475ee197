"""Runs commands of the command line in this process, as the tests of several of them do."""

from typing import Any

import orjson
from click.testing import CliRunner, Result

from fleetline.cli import main


def run(*arguments: str, typed: str | None = None) -> Result:
    """Run a command; `typed` is what a person types in."""
    return CliRunner().invoke(main, arguments, input=typed)


def done(*arguments: str, typed: str | None = None) -> Result:
    """Run a command that must succeed."""
    result = run(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result


def said(*arguments: str) -> Any:
    """Run a command with --json and return what it printed."""
    return orjson.loads(done(*arguments, "--json").stdout)


def refused(*arguments: str, typed: str | None = None) -> str:
    """Run a command that must fail, and return its complaint: one line, whatever happened."""
    result = run(*arguments, typed=typed)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return result.output
