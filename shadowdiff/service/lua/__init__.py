"""The service's own scripts."""
