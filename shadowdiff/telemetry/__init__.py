"""Telemetry: metrics, the metrics port, traces and logs."""
