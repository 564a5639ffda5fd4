"""Shared fixtures of the security tests: one service per module, and certificates of a temporary CA."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import needs_tool

ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Certificates:
    """A CA, one certificate for 127.0.0.1 and for clients, and one certificate of another CA."""

    ca: Path
    cert: Path
    key: Path
    strange_cert: Path
    strange_key: Path


def redis_with_tls() -> str:
    """Return a redis-server with TLS, which those in wheels lack. Otherwise skip, or fail if CI=true."""
    needs_tool("redis-server")
    named = (Path(folder) / "redis-server" for folder in os.environ["PATH"].split(os.pathsep))
    found = next((path for path in named if path.is_file() and b"tls-cert-file" in path.read_bytes()), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no redis-server on PATH speaks TLS")
    return str(found)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates for this run."""
    folder = tmp_path_factory.mktemp("certificates")
    ca_key, stranger_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca, stranger = (
        _made("test CA", ca_key, "test CA", ca_key),
        _made("stranger", stranger_key, "stranger", stranger_key),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    paths = Certificates(*(folder / name for name in ("ca.pem", "cert.pem", "key.pem", "odd.pem", "odd.key")))
    for path, made in (
        (paths.ca, ca),
        (paths.cert, _made("shadowdiff", key, "test CA", ca_key)),
        (paths.strange_cert, stranger),
    ):
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    for path, made in ((paths.key, key), (paths.strange_key, stranger_key)):
        path.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return paths


def _made(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    is_ca = name == issuer
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if is_ca:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        ) | {"key_cert_sign": True, "crl_sign": True}  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def raw(port: int, request: bytes, within_s: float = 10.0) -> bytes:
    """Send bytes unchanged, return the start of the reply, and close the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts: list[bytes] = []
        while sum(map(len, parts)) < ANSWER_BYTES and (part := connection.recv(ANSWER_BYTES)):
            parts.append(part)
    return b"".join(parts)
