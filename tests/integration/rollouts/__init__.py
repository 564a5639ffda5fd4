"""The examples for rollout controllers, and what those controllers ask."""
