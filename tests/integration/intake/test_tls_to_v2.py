"""Test the TLS settings of a candidate against real TLS servers, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from shadowdiff.intake.upstream import Destination, MirroredRequest, Upstream
from shadowdiff.model import Candidate, Control, Failure, Observation, Side, Target
from shadowdiff.model.secret import Secret
from shadowdiff.model.sent import Edits
from tests.fakes.shop_proto import framed
from tests.integration.intake.scripted import get, intake
from tests.integration.intake.test_tls_failures import OWN, context_of, issue, over_tls, serving

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

HOST = "127.0.0.1"


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a CA that the system does not trust, another CA, and certificates."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = issue("CA", [], None), issue("CA", [], None)
    made = {
        "ca": ca,
        "other ca": other,
        "good": issue("good", [*OWN], ca),
        "other name": issue("other", [x509.DNSName("other.example")], ca),
        "client": issue("client", [], ca),
        "stranger": issue("stranger", [], None),
    }
    for name, each in made.items():
        (folder / f"{name}.pem").write_bytes(each.pem())
    certificate, _, key = (folder / "client.pem").read_text().partition("-----BEGIN PRIVATE")
    (folder / "client.crt").write_text(certificate)
    (folder / "client.key").write_text(f"-----BEGIN PRIVATE{key}")
    return folder


def secure(port: int, files: Path, **settings: str) -> Candidate:
    """Return a candidate with these TLS settings; a file is named by its file name."""
    named = {name: value if name == "server_name" else str(files / value) for name, value in settings.items()}
    return Candidate(url=f"https://{HOST}:{port}", **named)  # pyright: ignore[reportArgumentType]


def target(candidate: Candidate, control: Control | None = None) -> Target:
    """Return a target for the candidate."""
    return Target(name="svc", hosts=("svc",), methods=("GET", "POST"), candidate=candidate, control=control)


CASES: list[tuple[str, dict[str, str], Failure | None]] = [
    ("good", {}, Failure.TLS_UNTRUSTED),
    ("good", {"ca": "ca.pem"}, None),
    ("good", {"ca": "other ca.pem"}, Failure.TLS_UNTRUSTED),
    ("other name", {"ca": "ca.pem"}, Failure.TLS_NAME_MISMATCH),
    ("other name", {"ca": "ca.pem", "server_name": "other.example"}, None),
    ("good", {"ca": "ca.pem", "server_name": "other.example"}, Failure.TLS_NAME_MISMATCH),
    ("mutual good", {"ca": "ca.pem"}, Failure.TLS_CLIENT_CERTIFICATE_REQUIRED),
    ("mutual good", {"ca": "ca.pem", "cert": "client.pem"}, None),
    ("mutual good", {"ca": "ca.pem", "cert": "client.crt", "cert_key": "client.key"}, None),
    ("mutual good", {"ca": "ca.pem", "cert": "stranger.pem"}, Failure.TLS_CLIENT_CERTIFICATE_REQUIRED),
    ("mutual good 1.2", {"ca": "ca.pem", "cert": "client.pem"}, None),
]


@pytest.mark.parametrize(("server", "settings", "failure"), CASES)
async def test_http1_uses_the_tls_settings(
    server: str, settings: dict[str, str], failure: Failure | None, files: Path
) -> None:
    """With the right files and name v2 responds. With others, the failure has its reason."""
    with serving(over_tls(context_of(files, server))) as port:
        async with intake(target(secure(port, files, **settings))) as running:
            (seen,) = await running.mirrored(get())
    assert (failure, b"" if failure else b"ok") == (seen.failure, seen.body)


async def test_tls_requests_the_server_name(files: Path) -> None:
    """A server that selects its certificate by name (SNI) sees the configured name, and Host is still the URL's."""
    asked: list[str | None] = []
    context = context_of(files, "other name")
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    with serving(over_tls(context)) as port:
        candidate = secure(port, files, ca="ca.pem", server_name="other.example")
        async with intake(target(candidate)) as running:
            (seen,) = await running.mirrored(get())
    assert (["other.example"], f"{HOST}:{port}") == (asked, seen.authority)


async def test_the_control_has_its_own_tls_settings(files: Path) -> None:
    """It may have another CA than v2."""
    with serving(over_tls(context_of(files, "good"))) as port:
        candidate = secure(port, files)
        control = Control(url=candidate.url, sample=1.0, ca=str(files / "ca.pem"))
        async with intake(target(candidate, control)) as running:
            seen = await running.mirrored(get())
    assert {Side.CANDIDATE: Failure.TLS_UNTRUSTED, Side.CONTROL: None} == {one.side: one.failure for one in seen}


async def test_a_reload_reads_the_files_again(files: Path, tmp_path: Path) -> None:
    """Until then the old files stay in use. An unusable file sheds requests, and is never a failure of v2."""
    ca = tmp_path / "ca.pem"
    shutil.copy(files / "other ca.pem", ca)
    with serving(over_tls(context_of(files, "good"))) as port:
        used = target(secure(port, tmp_path, ca="ca.pem"))
        async with intake(used) as running:
            await running.mirrored(get())
            shutil.copy(files / "ca.pem", ca)
            await running.mirrored(get())
            running.mirror.replace([used])
            await running.mirrored(get())
            ca.unlink()
            running.mirror.replace([used])
            seen = await running.mirrored(get())
    assert [Failure.TLS_UNTRUSTED, Failure.TLS_UNTRUSTED, None] == [one.failure for one in seen]
    assert {("svc", "tls_files"): 1} == running.counters.shed_reasons


@contextmanager
def grpc_server(files: Path, seen: list[Any]) -> Generator[int]:
    """Run a real gRPC server that requires a client certificate, and yield its port."""
    grpc: Any = pytest.importorskip("grpc")

    def echo(message: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata()))
        return message.upper()

    certificate, _, key = (files / "good.pem").read_bytes().partition(b"-----BEGIN PRIVATE")
    pair = (b"-----BEGIN PRIVATE" + key, certificate)
    ca = (files / "ca.pem").read_bytes().partition(b"-----BEGIN PRIVATE")[0]
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", methods),))
        port = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([pair], ca, require_client_auth=True))
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


async def called(*candidates: Candidate, reloads: bool = False) -> list[Observation]:
    """Return the observation of the same call to each candidate."""
    headers = [(b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"x-user", b"7"), (b"x-old", b"1")]
    request = MirroredRequest("7", "x-diff-id", "POST", "/v1/t.Test/Echo", "svc", headers, framed(b"hi"), 100)
    seen: list[Observation] = []
    async with Upstream(lambda: 0) as upstream:
        for candidate in candidates:
            destination = Destination.of(target(candidate), candidate)
            seen.append(await upstream.send(destination, request))
            if reloads:
                upstream.retire_others({destination.peer})
    return seen


async def test_http2_uses_the_tls_settings_and_the_changes_of_the_request(files: Path) -> None:
    """A gRPC call presents the client certificate, and has the configured headers and path."""
    edits = Edits(set={"x-user": Secret(b"shadow")}, replace={"x-old": Secret(b"2")}, remove=("user-agent",))
    got: list[Any] = []
    with grpc_server(files, got) as port:
        bare = secure(port, files, ca="ca.pem")
        good = Candidate(
            url=bare.url, ca=bare.ca, cert=str(files / "client.pem"), headers=edits, path_prefix={"/v1": "/"}
        )
        seen = await called(secure(port, files), bare, good)
    untrusted, without_certificate, answered = [one.failure for one in seen]
    assert (Failure.TLS_UNTRUSTED, None) == (untrusted, answered)
    assert without_certificate in {Failure.TLS_CLIENT_CERTIFICATE_REQUIRED, Failure.RESET}  # gRPC may send no alert
    assert (framed(b"HI"), "/v1/t.Test/Echo") == (seen[-1].body, seen[-1].path)
    assert [("shadow", "2")] == [(each["x-user"], each["x-old"]) for each in got]


async def test_connections_of_old_settings_are_closed(files: Path) -> None:
    """After a reload no connection with an old certificate stays open."""
    with grpc_server(files, []) as port:
        one = secure(port, files, ca="ca.pem", cert="client.pem")
        other = secure(port, files, ca="ca.pem", cert="client.crt", cert_key="client.key")
        seen = await called(one, other, one, reloads=True)
        await asyncio.sleep(0)
    assert [None] * 3 == [each.failure for each in seen]
