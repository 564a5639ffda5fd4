"""Intake: receive mirrored requests and recorded responses, send the requests to v2, and count every outcome."""
