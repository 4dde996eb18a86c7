"""An owner's secret: the file that holds it, and the keys derived from it."""

import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from gamekeeper.errors import BadConfig
from gamekeeper.types import SECRET

OTHERS = stat.S_IRWXG | stat.S_IRWXO
SALT = b"gamekeeper"


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
    try:
        secret = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != SECRET:
        raise BadConfig(
            f"the key file {path} must hold {2 * SECRET} hexadecimal digits and nothing else."
            " Make one with gamekeeper.keys.make_key, or: openssl rand -hex 32"
        )
    return secret
