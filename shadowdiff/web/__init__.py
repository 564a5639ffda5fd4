"""The web port: the API and the pages.

In: readers and callables, wired by the service.  Out: a Starlette application.
Holds: no read changes a number; whatever a field holds, a page shows it as text.
"""

from shadowdiff.web.app import create_web
from shadowdiff.web.state import TargetView, WebState

__all__ = ["TargetView", "WebState", "create_web"]
