"""Tests of the examples for rollout controllers, and of the controllers' requests."""
