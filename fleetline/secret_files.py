"""Secrets from files: `<VARIABLE>_FILE` names a file whose content is the setting, as Kubernetes and Docker mount secrets."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, SettingsError

SUFFIX = "_FILE"
LARGEST = 64 * 1024


def variables(name: str, field: FieldInfo, prefix: str) -> list[str]:
    """Return the environment variables a setting is read from, upper case."""
    alias = field.validation_alias
    names = [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else [f"{prefix}{name}"]
    return [each.upper() for each in names if each != name]


def may_come_from_file(field: FieldInfo) -> bool:
    """Tell whether a setting is a secret, or has one in it: these may be files, and only these."""
    return field.annotation is SecretStr or field.repr is False


class SecretFiles(PydanticBaseSettingsSource):
    """Reads the files; the newline at their end is not part of the secret.

    Raises SettingsError, which names the variable and never what is in the file, when one cannot be read, is empty, is larger
    than `LARGEST`, or when the secret is given both ways: nobody could tell which of them is meant.
    """

    def __call__(self) -> dict[str, Any]:
        """Return the settings that come from files."""
        environment = {name.upper(): value for name, value in os.environ.items()}
        prefix = str(self.config.get("env_prefix", ""))
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if may_come_from_file(field):
                value = _given(variables(name, field, prefix), environment)
                if value is not None:
                    found[name] = value
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  the base's
        """Return nothing: all fields are read at once."""
        return None, field_name, False


def _given(names: Iterable[str], environment: dict[str, str]) -> str | None:
    names = list(names)
    files = [each + SUFFIX for each in names if environment.get(each + SUFFIX)]
    if not files:
        return None
    both = [*files, *(each for each in names if environment.get(each))]
    if len(both) > 1:
        raise SettingsError(f"{' and '.join(both)} are both set; set one of them")
    return _content(files[0], Path(environment[files[0]]))


def _content(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{variable}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not text in UTF-8") from None
    if not text or len(content) > LARGEST:
        raise SettingsError(f"{variable}: {path} is {'too large for a secret' if text else 'empty'}")
    return text
