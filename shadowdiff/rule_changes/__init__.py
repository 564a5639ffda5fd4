"""Manage rules that users add while the service runs: rule book, previews, proposals and suggestions."""
