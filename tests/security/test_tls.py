"""Test ports with TLS: which clients can connect, and how a renewed certificate is loaded."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.conftest import free_port_number
from tests.integration.service.conftest import World, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.security.conftest import Certificates

WITHIN_S = 60.0
REQUESTS = {
    "mirror": ("GET", "/", 202),
    "records": ("POST", "/records", 400),
    "web": ("GET", "/api/v1/targets", 200),
    "metrics": ("GET", "/readyz", 200),
}
"""A request to each port, and its response."""
CLIENT_CA_PORTS = ("mirror", "records", "web")
"""The ports that require a client certificate."""


@pytest.fixture
async def world(redis_server: RedisServer, tmp_path: Path, certificates: Certificates) -> AsyncIterator[World]:
    """Yield a service with TLS on every port and its own certificate files."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(certificates.cert, cert)
    shutil.copy(certificates.key, key)
    port = free_port_number()
    files = {"cert": str(cert), "key": str(key)}
    config = settings(redis_server.url, target(port), store={"prefix": f"tls{port}"})
    config["tls"] = {
        name: files | ({"client_ca": str(certificates.ca)} if name in CLIENT_CA_PORTS else {}) for name in REQUESTS
    }
    context = _context(certificates)
    answer = always(response(b"{}", "200 OK", "content-type: application/json"))
    async with v2(answer, port), serving(tmp_path, config, tls=context) as made:
        yield made


def _context(certificates: Certificates, *, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(cert or certificates.cert, key or certificates.key)
    return context


async def _asked(world: World, name: str, context: ssl.SSLContext | None) -> int:
    method, path, _ = REQUESTS[name]
    url = f"{'https' if context else 'http'}://127.0.0.1:{world.service.ports[name]}{path}"
    async with world.mesh.session.request(method, url, ssl=context or False) as answer:
        return answer.status


async def test_only_certificates_of_the_client_ca_connect(world: World, certificates: Certificates) -> None:
    """Mirror, records and pages reject clients with another CA, without a certificate, or without TLS."""
    strange = _context(certificates, cert=certificates.strange_cert, key=certificates.strange_key)
    none = ssl.create_default_context(cafile=str(certificates.ca))
    own = _context(certificates)
    for name, (_, _, status) in REQUESTS.items():
        assert status == await _asked(world, name, own), name
        refused = (strange, none, None) if name in CLIENT_CA_PORTS else (None,)
        for context in refused:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
                await _asked(world, name, context)
    assert 200 == await _asked(world, "metrics", none)


async def test_a_pair_over_tls_is_compared(world: World) -> None:
    """Both halves arrive over TLS, and so do the requests for metrics."""
    context = world.service.tls
    assert context is not None
    await world.both("one", b"{}")
    await world.until(pairs__match=1)


async def test_a_renewed_certificate_is_loaded(world: World, certificates: Certificates) -> None:
    """New connections get the renewed certificate without a restart. A certificate with a wrong key is not loaded."""
    port, folder = world.service.ports["metrics"], world.service.folder
    assert certificates.cert.read_bytes() == await asyncio.to_thread(_shown, port)
    (folder / "cert.pem").write_bytes(certificates.strange_cert.read_bytes())
    await _until_logged(world, "certificate reload failed; keeping previous")
    assert certificates.cert.read_bytes() == await asyncio.to_thread(_shown, port)
    (folder / "key.pem").write_bytes(certificates.strange_key.read_bytes())
    renewed = certificates.strange_cert.read_bytes()
    async with asyncio.timeout(WITHIN_S):
        while renewed != await asyncio.to_thread(_shown, port):  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.2)


def _shown(port: int) -> bytes:
    """Return the certificate of a port, as PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as wrapped:
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"").encode()


async def _until_logged(world: World, message: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while message not in world.service.log:  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.2)
