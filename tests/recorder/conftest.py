"""Stubs for the two ports, and recorders that are closed again."""

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
    """Serve a records port that takes all."""
    with StubServer(Stub()) as served:
        yield served


@pytest.fixture
def mirror_stub() -> Iterator[Stub]:
    """Serve a mirror port that takes all."""
    with StubServer(Stub()) as served:
        yield served


@pytest.fixture
def keep(stub: Stub, mirror_stub: Stub) -> Iterator[Callable[[Any], Any]]:
    """Close what is handed over, at the end: a middleware or a recorder. Its threads end, whatever a stub does."""
    kept: list[Recorder] = []

    def keeping(thing: Any) -> Any:
        if isinstance(thing, (AsgiMiddleware, WsgiMiddleware)):
            assert thing.recorder is not None
            kept.append(thing.recorder)
        else:
            kept.append(thing)
        return thing

    yield keeping
    stub.let_go()
    mirror_stub.let_go()
    for recorder in kept:
        recorder.close(0.0)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("shadowdiff-")], "the recorder's threads")
