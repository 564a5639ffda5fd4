"""Find problems of the candidates and controls: secrets in the file itself, and unusable TLS files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shadowdiff.intake.client_tls import ClientTls, TlsFileError
from shadowdiff.report.secret_names import QUERY_NAMES, header_secrecy, plain, secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.config.document import Document
    from shadowdiff.config.problem import KeyPath, Problem
    from shadowdiff.config.sent_settings import SentSettings
    from shadowdiff.config.settings import Root


def destination_problems(root: Root, document: Document) -> Iterator[Problem]:
    """Yield the problems of each candidate and each control."""
    for number, target in enumerate(root.targets):
        for key, side in (("candidate", target.candidate), ("control", target.control)):
            if side is not None:
                path = ("targets", number, key)
                yield from _literal_secrets(side, path, document)
                yield from _tls(side, path, document)


def unreadable(path: KeyPath, name: str, document: Document) -> Iterator[Problem]:
    """Yield a problem if a file cannot be read."""
    try:
        with Path(name).open("rb"):
            return
    except OSError as error:
        yield document.problem(path, f"names a file that cannot be read: {error.strerror}", name)


def _literal_secrets(side: SentSettings, path: KeyPath, document: Document) -> Iterator[Problem]:
    """Yield a problem for each secret that is written in the file, which check-config prints."""
    for section, edits in (("headers", side.headers), ("query", side.query)):
        for how, values in (("set", edits.set), ("replace", edits.replace)):
            for name, value in values.items():
                is_secret = secrecy(name) or (
                    header_secrecy(name) if section == "headers" else plain(name) in QUERY_NAMES
                )
                if is_secret and value.source and "${" not in value.source:
                    message = "must not contain the secret itself; write ${NAME} or ${/path/of/file} in its place"
                    yield document.problem((*path, section, how, name), message)


def _tls(side: SentSettings, path: KeyPath, document: Document) -> Iterator[Problem]:
    """Yield the problems of the TLS settings; the files are loaded only if each setting is usable."""
    found = [*_tls_settings(side, path, document)]
    yield from found
    if found or not (side.ca or side.cert):
        return
    try:
        ClientTls(side.ca, side.cert, side.cert_key).context()
    except TlsFileError as error:
        yield document.problem((*path, error.setting), error.message, getattr(side, error.setting))


def _tls_settings(side: SentSettings, path: KeyPath, document: Document) -> Iterator[Problem]:
    given = side.model_dump(include={"ca", "cert", "cert_key", "server_name"}, exclude_none=True)
    for setting, name in given.items():
        if not side.url.startswith("https://"):
            yield document.problem((*path, setting), f"is for TLS: begin {path[-1]}.url with https://", name)
        elif setting != "server_name":
            yield from unreadable((*path, setting), name, document)
    if side.cert_key is not None and side.cert is None:
        yield document.problem((*path, "cert_key"), f"needs {path[-1]}.cert, the certificate of this key")
