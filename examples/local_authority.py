"""A time-stamping authority of our own: certificates by `cryptography`, stamps by `openssl ts`, no network.

Without `certs =` in its configuration: with it, openssl writes a set out of order, which the client refuses.
"""

import datetime
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from gamekeeper.errors import GamekeeperError

CONFIGURATION = """[tsa]
default_tsa = local
[local]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/authority.pem
signer_key = {folder}/authority.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500
"""


@dataclass(frozen=True)
class Authority:
    """A folder with the authority's key, and the root certificate that a judge trusts (root.pem there)."""

    folder: Path
    root: x509.Certificate

    def stamp(self, request: bytes) -> bytes:
        (self.folder / "request").write_bytes(request)
        self.openssl("ts -reply -config tsa.conf -section local -queryfile request -out response")
        return (self.folder / "response").read_bytes()

    def openssl(self, command: str) -> str:
        program = shutil.which("openssl")
        if program is None:
            raise GamekeeperError("the local authority stamps with the program openssl. Install it.")
        done = subprocess.run(  # noqa: S603 - our own words, without a shell
            [program, *command.split()], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType],
    days: float = 3650,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        issuer_name=subject if issuer is None else issuer.subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=100),
        not_valid_after=now + datetime.timedelta(days=days),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def write(folder: Path, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.key").write_bytes(secret)


def authority(folder: Path, days: float = 3650) -> Authority:
    """days: until the authority's certificate expires, negative for one that has. `web` is for other purposes."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root = certificate("test root", keys[0], None, keys[0], [x509.BasicConstraints(True, None)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    write(folder, "root", root, keys[0])
    write(folder, "authority", certificate("test authority", keys[1], root, keys[0], [usage], days), keys[1])
    web = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    write(folder, "web", certificate("web server", keys[2], root, keys[0], [web]), keys[2])
    (folder / "tsa.conf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "serial").write_text("01\n")
    return Authority(folder, root)
