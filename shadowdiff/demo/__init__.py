"""A dark launch on one machine: v1, v2 with planted faults, users, a real Envoy, and the service.

The demo reads the service only through its public API, and runs the same Envoy files that users deploy.
"""
