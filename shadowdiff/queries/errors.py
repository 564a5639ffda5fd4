"""The error for a request that the service cannot fulfill."""

from __future__ import annotations


class RequestError(Exception):
    """An HTTP status and one line that states what is wrong and how to fix it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def __reduce__(self) -> tuple[type[RequestError], tuple[int, str]]:
        """Pickle both arguments, so that the error can cross process boundaries."""
        return type(self), (self.status, self.message)
