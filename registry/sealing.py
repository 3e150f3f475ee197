"""Secrets that must be read back (the PSK of a destination): encrypted before they enter a topic.

Fernet (AES-128-CBC with HMAC-SHA256). The key is `FLEETLINE_SECRET_KEY`, the same for every component; without it, a
file of the data directory, made on first use: right for one machine, not for several.
"""

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import SealingError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

    from fleetline.settings import Settings

KEY_FILE = "secret.key"
_SHORTEST_PASSPHRASE = 16


def seal(settings: "Settings", plain: str) -> str:
    """Encrypt a text. Two calls give two different results; empty stays empty. Raises SealingError on an unusable key."""
    if not plain:
        return ""
    return _fernet(settings).encrypt(plain.encode("utf-8", "surrogatepass")).decode("ascii")


def unseal(settings: "Settings", sealed: str) -> str:
    """Decrypt what `seal` made with the same key; empty stays empty. Raises SealingError on another key or altered text."""
    from cryptography.fernet import InvalidToken

    if not sealed:
        return ""
    try:
        plain = _fernet(settings).decrypt(sealed.encode("utf-8", "surrogatepass"))
    except InvalidToken:
        raise SealingError(
            "a sealed secret cannot be opened: it was sealed with another key. Give every component the same "
            "FLEETLINE_SECRET_KEY (or data directory), or store the secret again"
        ) from None
    return plain.decode("utf-8", "surrogatepass")


def _fernet(settings: "Settings") -> "Fernet":
    from cryptography.fernet import Fernet

    configured = settings.secret_key.get_secret_value().strip()
    key = configured.encode("utf-8", "surrogatepass") if configured else _key_of_file(settings.data_dir / KEY_FILE)
    try:
        return Fernet(key)
    except ValueError:
        if not configured:
            raise SealingError(
                f"{settings.data_dir / KEY_FILE} holds no key; restore it, or set FLEETLINE_SECRET_KEY"
            ) from None
    return Fernet(_derived(key))


def _derived(passphrase: bytes) -> bytes:
    """Make a key of a random text that is no Fernet key itself (what secret generators of clusters give)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(passphrase) < _SHORTEST_PASSPHRASE:
        raise SealingError(f"FLEETLINE_SECRET_KEY is shorter than {_SHORTEST_PASSPHRASE} characters; use a random text")
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"fleetline sealing").derive(passphrase)
    return base64.urlsafe_b64encode(derived)


def _key_of_file(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SealingError(f"the key file cannot be read: {error}") from error
    try:
        _make_key_file(path)
        return path.read_bytes().strip()
    except OSError as error:
        raise SealingError(f"the key file cannot be made: {error}; or set FLEETLINE_SECRET_KEY") from error


def _make_key_file(path: Path) -> None:
    """Write a new key, whole and readable by its owner alone. Of several processes at once the first one's key stays."""
    from cryptography.fernet import Fernet

    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(mine, path)
        except FileExistsError:
            return
    finally:
        mine.unlink(missing_ok=True)
