"""Report a failed write to a standard stream as an error of the command, never as its result.

A failed write to standard output raises `OutputError`, and the command exits with 2. A failed write to standard error
is ignored, because a lost message does not change the result.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

import click

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer

EXIT_ERROR: Final = 2
STDOUT, STDERR = 1, 2


class OutputError(click.ClickException):
    """The output cannot be written."""

    exit_code = EXIT_ERROR


class _Stdout(io.FileIO):
    def write(self, b: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(b)
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error


class _Stderr(io.FileIO):
    def write(self, b: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(b)
        except OSError:
            return memoryview(b).nbytes


def guard_streams() -> None:
    """Replace the standard streams with guarded streams, except streams that a test has replaced."""
    _reserve_descriptors()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Stdout(STDOUT, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Stderr(STDERR, "w", closefd=False), sys.stderr)


def discard_output() -> None:
    """Discard buffered output, so that Python's flush at exit does not fail."""
    if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Stdout):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)


def write_file(file: Path, content: bytes) -> None:
    """Write a file. Raises: OutputError that names the file."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror or error}") from error


def _reserve_descriptors() -> None:
    """Open each closed standard descriptor, so that no socket or file gets its number.

    Descriptors 1 and 2 are opened read-only, so that a write still fails with "Bad file descriptor".
    """
    for number in (0, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number, which is `number`


def _text(raw: io.FileIO, old: TextIO | None) -> io.TextIOWrapper:
    """Return a text stream with the old stream's encoding. It escapes characters that the encoding does not have."""
    errors = old.errors if old is not None and old.errors != "strict" else "backslashreplace"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding if old is not None else "utf-8",
        errors=errors,
        line_buffering=raw.isatty() or raw.fileno() == STDERR,
    )
