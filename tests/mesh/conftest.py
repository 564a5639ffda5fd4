"""Provide a Redis for the service behind the mesh, and a Redis connection that a test can cut or slow down."""

from tests.integration.service.conftest import link, own_redis

__all__ = ["link", "own_redis"]
