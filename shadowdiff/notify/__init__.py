"""Webhook notifications: detect events, format them, and send them to the configured URLs."""
