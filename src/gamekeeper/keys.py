"""An owner's secret: the file that holds it, and the keys derived from it."""

import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gamekeeper.errors import BadConfig
from gamekeeper.types import SECRET

OTHERS = stat.S_IRWXG | stat.S_IRWXO
SALT = b"gamekeeper"
VARIABLE = "GAMEKEEPER_SECRET"
"""The environment variable that may hold a service's secret in place of a key file."""


def hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869): a single block, so no counter is needed."""
    return hmac.digest(hmac.digest(salt, material, "sha256"), info + b"\x01", "sha256")


def derived(secret: bytes, use: str) -> bytes:
    """The key for one use of a secret, 32 bytes. It reveals nothing about the secret or the keys for other uses."""
    return hkdf(secret, SALT, use.encode())


def make_key(path: Path) -> None:
    """Writes a new secret that only this user may read. Raises BadConfig if the file exists or cannot be written.

    The file appears complete or not at all: it is written under a temporary name and then linked to its own.
    """
    try:
        number, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(number, "w") as file:
                file.write(secrets.token_hex(SECRET) + "\n")
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(beside)
        finally:
            Path(beside).unlink()
    except FileExistsError:
        raise BadConfig(
            f"{path} already exists, and a key that is overwritten is lost. Choose another name, or move the file away."
        ) from None
    except OSError as error:
        raise BadConfig(f"the key file {path} cannot be written: {error.strerror}.") from error


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key file: one line of 64 hexadecimal digits, readable by its owner only.

    Raises BadConfig for any other file. No message shows the contents.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4 * SECRET)
    except OSError as error:
        raise BadConfig(f"the key file {path} cannot be read: {error.strerror}.") from error
    if os.name == "posix" and mode & OTHERS:
        raise BadConfig(f"the key file {path} is open to others (mode {stat.S_IMODE(mode):04o}). Run: chmod 600 {path}")
    secret = parsed(text.decode("ascii", "replace"))
    if secret is None:
        raise BadConfig(
            f"the key file {path} must hold {2 * SECRET} hexadecimal digits and nothing else."
            " Make one with gamekeeper.keys.make_key, or: openssl rand -hex 32"
        )
    return secret


def parsed(text: str) -> bytes | None:
    """The secret that hexadecimal digits spell; None for anything else."""
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        return None
    return secret if len(secret) == SECRET else None


def service_secret(path: Path | None, environment: Mapping[str, str]) -> bytes:
    """The secret of a service: of a key file, or of the environment variable VARIABLE; never of a configuration file.

    Raises BadConfig unless exactly one of the two is there and is a secret. No message shows it.
    """
    text = environment.get(VARIABLE)
    if (path is None) == (text is None):
        raise BadConfig(
            f"a service needs its secret from one place, a key file or the variable {VARIABLE}; got"
            f" {'neither' if path is None else 'both'}. Make a key file with gamekeeper.keys.make_key, and name it."
        )
    if path is not None:
        return read_key(path)
    secret = parsed(text or "")
    if secret is None:
        raise BadConfig(f"{VARIABLE} must hold {2 * SECRET} hexadecimal digits and nothing else: openssl rand -hex 32")
    return secret
