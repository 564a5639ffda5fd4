"""A Redis of a test's own for the service behind the mesh, and a link to it that the test can cut or slow down."""

from tests.integration.service.conftest import link, own_redis

__all__ = ["link", "own_redis"]
