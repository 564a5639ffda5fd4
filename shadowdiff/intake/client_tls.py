"""TLS towards v2 and the control: the CAs to trust, the client certificate to present, and the name to expect.

The files are read when a connection pool is created. After a reload, a pool whose files have changed is replaced.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model.sent import Sent


class TlsFileError(Exception):
    """A file for TLS cannot be used. setting: the key that names the file. v2 never causes this failure."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting} {message}")
        self.setting = setting
        self.message = message


class ClientTls(NamedTuple):
    """The TLS settings of one side. versions: identify the content of the files when the settings were read."""

    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None
    server_name: str | None = None
    versions: tuple[tuple[int, int, int] | None, ...] = ()

    @classmethod
    def of(cls, sent: Sent) -> Self:
        """Return the TLS settings of one side, with the current versions of their files."""
        files = (sent.ca, sent.cert, sent.cert_key)
        return cls(*files, sent.server_name, tuple(_version(file) for file in files if file is not None))

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Return a context that trusts the CAs, or else the system's CAs. Raises: TlsFileError."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # an SSLError is an OSError
            raise TlsFileError(
                "ca", f"names a file that {_reason(error, 'has no certificate in PEM format')}"
            ) from error
        if self.cert is not None:
            self._load_certificate(context, self.cert)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def _load_certificate(self, context: ssl.SSLContext, cert: str) -> None:
        try:
            # Without a password, OpenSSL would wait for one on the terminal.
            context.load_cert_chain(cert, self.cert_key, password="")
        except OSError as error:
            fix = "does not fit cert_key; write a PEM certificate, and its key in PEM format without a password"
            raise TlsFileError("cert", f"names a file that {_reason(error, fix)}") from error


def _version(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: OSError, of_its_content: str) -> str:
    return of_its_content if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
