"""Applies the numbered SQL files once, in order."""

import hashlib
import logging
from importlib.resources import files

from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

_JOURNAL = """
CREATE TABLE IF NOT EXISTS migrations (name String, checksum String, applied_at DateTime64(6, 'UTC'))
ENGINE = ReplacingMergeTree(applied_at) ORDER BY name
"""


class MigrationChanged(RuntimeError):
    """A file that was already applied reads differently now. Put it back, and write the change as a new file."""


def statements(text: str) -> list[str]:
    """Split a file at the semicolons that end a line, leaving comment lines out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = (part.strip(" \n;") for part in "\n".join(lines).split(";\n"))
    return [part for part in parts if part]


def migrate(client: Client) -> list[str]:
    """Apply what is missing and return the names. Every statement is `IF NOT EXISTS`, so two loaders may start at once.

    Raises MigrationChanged when an applied file was edited.
    """
    from schemas.times import now_us

    client.command(_JOURNAL)
    applied: dict[str, str] = {
        row[0]: row[1] for row in client.query("SELECT name, checksum FROM migrations FINAL").result_rows
    }
    made: list[str] = []
    folder = files("sinks.clickhouse").joinpath("migrations")
    for file in sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name):
        text = file.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if file.name in applied:
            if applied[file.name] != checksum:
                raise MigrationChanged(f"{file.name} was changed after it had been applied")
            continue
        for statement in statements(text):
            client.command(statement)
        client.insert(
            "migrations", [[file.name], [checksum], [now_us()]], column_names=["name", "checksum", "applied_at"],
            column_type_names=["String", "String", "DateTime64(6, 'UTC')"], column_oriented=True,
        )  # fmt: skip
        log.info("applied %s", file.name)
        made.append(file.name)
    return made
