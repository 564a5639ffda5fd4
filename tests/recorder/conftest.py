"""Provide stubs of shadowdiff's two ports, and close recorders after the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from shadowdiff_recorder import AsgiMiddleware, Recorder, WsgiMiddleware

from tests.recorder.stub import Stub, StubServer, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Serve a stub of the records port that accepts every request."""
    with StubServer(Stub()) as served:
        yield served


@pytest.fixture
def mirror_stub() -> Iterator[Stub]:
    """Serve a stub of the mirror port that accepts every request."""
    with StubServer(Stub()) as served:
        yield served


@pytest.fixture
def keep(stub: Stub, mirror_stub: Stub) -> Iterator[Callable[[Any], Any]]:
    """Close the given middlewares and recorders after the test, even if a stub hangs."""
    kept: list[Recorder] = []

    def keeping(thing: Any) -> Any:
        if isinstance(thing, (AsgiMiddleware, WsgiMiddleware)):
            assert thing.recorder is not None
            kept.append(thing.recorder)
        else:
            kept.append(thing)
        return thing

    yield keeping
    stub.release()
    mirror_stub.release()
    for recorder in kept:
        recorder.close(0.0)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("shadowdiff-")], "the recorder's threads")
