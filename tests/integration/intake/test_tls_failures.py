"""A TLS failure of v2 names its cause, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shadowdiff.intake.dispatch import BREAKER_FAILURES
from shadowdiff.intake.http2 import Http2Client
from shadowdiff.model import Candidate, Failure, Target
from tests.integration.intake.scripted import get, intake

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

HOST = "127.0.0.1"
OWN = [x509.IPAddress(ipaddress.ip_address(HOST))]
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


class Issued(NamedTuple):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Return the certificate and the key as one file."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self.certificate.public_bytes(serialization.Encoding.PEM) + key


def issue(name: str, names: list[x509.GeneralName], ca: Issued | None, days: tuple[int, int] = (-1, 2)) -> Issued:
    """Return a certificate for these names. Without a CA it is self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=name == "CA", path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(ca.key if ca else key, hashes.SHA256()), key)


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a CA and certificates, one file each."""
    folder = tmp_path_factory.mktemp("tls")
    ca = issue("CA", [], None)
    made = {
        "ca": ca,
        "good": issue("good", [*OWN], ca),
        "self": issue("self", [*OWN], None),
        "expired": issue("expired", [*OWN], ca, (-5, -2)),
        "future": issue("future", [*OWN], ca, (1, 3)),
        "other name": issue("other", [x509.DNSName("other.example")], ca),
        "no name": issue("nameless", [], ca),
    }
    for name, each in made.items():
        (folder / f"{name}.pem").write_bytes(each.pem())
    return folder


@pytest.fixture(autouse=True)
def _trusted(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the CA, like a pod that gets its file."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files / "ca.pem"))


def context_of(files: Path, name: str) -> ssl.SSLContext:
    """Return the TLS context of a server for a case: a certificate by name, perhaps with mutual TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / f"{name.removeprefix('mutual ').removesuffix(' 1.2')}.pem")
    if name.startswith("mutual"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files / "ca.pem")
    if name.endswith("1.2"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def over_tls(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Return a server for one request. A blocking OpenSSL socket sends its alerts, but asyncio's does not."""

    def serve(accepted: socket.socket) -> None:
        with context.wrap_socket(accepted, server_side=True) as wrapped:
            wrapped.recv(10_000)
            wrapped.sendall(OK)

    return serve


def in_plain(answer: bytes) -> Callable[[socket.socket], None]:
    """Return a server without TLS."""

    def serve(accepted: socket.socket) -> None:
        accepted.recv(10)
        accepted.sendall(answer)

    return serve


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Generator[int]:
    """Serve each connection in its own thread."""

    def serve(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(accepted):
            answer(accepted)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server((HOST, 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()


CASES = [
    ("self", Failure.TLS_UNTRUSTED),
    ("expired", Failure.TLS_EXPIRED),
    ("future", Failure.TLS_EXPIRED),
    ("other name", Failure.TLS_NAME_MISMATCH),
    ("no name", Failure.TLS_NAME_MISMATCH),
    ("mutual good", Failure.TLS_CLIENT_CERTIFICATE_REQUIRED),
    ("mutual good 1.2", Failure.TLS_FAILED),
]


def secure(port: int) -> Target:
    """Return a target whose v2 is called over TLS."""
    return Target(
        name="svc", hosts=("svc",), methods=("GET", "POST"), candidate=Candidate(url=f"https://{HOST}:{port}")
    )


@pytest.mark.parametrize(("name", "failure"), CASES)
async def test_http1_names_the_failure(name: str, failure: Failure, files: Path) -> None:
    """Each request of any size gets the failure."""
    with serving(over_tls(context_of(files, name))) as port:
        async with intake(secure(port), max_request_bytes=4 << 20) as running:
            await running.mirrored(get(), get("/", method="POST", body=b"x" * (2 << 20)), get())
    assert [failure] * 3 == [seen.failure for seen in running.store.seen]


@pytest.mark.parametrize(("name", "failure"), CASES)
async def test_http2_names_the_failure(name: str, failure: Failure, files: Path) -> None:
    """A gRPC call also gets the failure."""
    client = Http2Client(1 << 20)
    with serving(over_tls(context_of(files, name))) as port:
        until_s = asyncio.get_running_loop().time() + 10
        answer = await client.send(("https", HOST, port), b"/t.Test/Get", [(b"host", b"v2")], b"x", until_s)
    client.close()
    assert failure is answer.failure


async def test_a_trusted_certificate_is_accepted(files: Path) -> None:
    """The service trusts the CA of SSL_CERT_FILE."""
    with serving(over_tls(context_of(files, "good"))) as port:
        async with intake(secure(port)) as running:
            (seen,) = await running.mirrored(get())
    assert (200, None, b"ok") == (seen.status, seen.failure, seen.body)


@pytest.mark.parametrize("plain", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["plain HTTP", "closes"])
async def test_a_v2_without_tls_fails_the_handshake(plain: bytes) -> None:
    """The failure is not reported as refused."""
    with serving(in_plain(plain)) as port:
        async with intake(secure(port)) as running:
            (seen,) = await running.mirrored(get())
    assert Failure.TLS_FAILED is seen.failure


@pytest.mark.parametrize("name", ["self", "mutual good"])
async def test_tls_failures_open_the_breaker(name: str, files: Path) -> None:
    """A handshake costs far more than a response."""
    asked = 2 * BREAKER_FAILURES
    with serving(over_tls(context_of(files, name))) as port:
        async with intake(secure(port)) as running:
            for _ in range(asked):
                await running.mirrored(get())
    assert Failure.BREAKER_OPEN is running.store.seen[-1].failure


async def test_a_reset_that_overtakes_the_alert_is_probed_once(files: Path) -> None:
    """One connection that sends nothing receives the reason. The next requests do not probe again."""
    connections = 0

    def reset_requests(accepted: socket.socket) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            over_tls(context_of(files, "mutual good"))(accepted)
            return
        wrapped = context_of(files, "good").wrap_socket(accepted, server_side=True)
        wrapped.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wrapped.recv(1)
        wrapped.close()

    with serving(reset_requests) as port:
        async with intake(secure(port)) as running:
            for _ in range(3):
                await running.mirrored(get())
    assert [Failure.TLS_CLIENT_CERTIFICATE_REQUIRED] * 3 == [seen.failure for seen in running.store.seen]
    assert 4 == connections


async def test_a_v2_that_resets_everything_has_the_failure_reset(files: Path) -> None:
    """Without an alert, the cause is a reset."""

    def reset(accepted: socket.socket) -> None:
        wrapped = context_of(files, "good").wrap_socket(accepted, server_side=True)
        wrapped.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wrapped.close()

    with serving(reset) as port:
        async with intake(secure(port)) as running:
            (seen,) = await running.mirrored(get())
    assert Failure.RESET is seen.failure
