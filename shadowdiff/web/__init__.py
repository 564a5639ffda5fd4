"""The web port: API and pages. Reads do not change any count. Pages show the content of every field as plain text."""

from shadowdiff.web.app import create_web
from shadowdiff.web.layout import WebParts

__all__ = ["WebParts", "create_web"]
