"""The part of google-re2's interface that the project uses; the package ships no types."""

from collections.abc import Iterator

class error(Exception): ...  # noqa: N801, N818

class Options:
    log_errors: bool
    max_mem: int

class Match:
    def span(self, group: int = 0) -> tuple[int, int]: ...

class Expression:
    def fullmatch(self, text: bytes | str) -> Match | None: ...
    def finditer(self, text: bytes | str) -> Iterator[Match]: ...

def compile(pattern: str, options: Options | None = None) -> Expression: ...  # noqa: A001

class Set:
    @staticmethod
    def SearchSet() -> Set: ...  # noqa: N802
    def Add(self, pattern: str) -> int: ...  # noqa: N802
    def Compile(self) -> None: ...  # noqa: N802
    def Match(self, text: bytes | str) -> list[int] | None: ...  # noqa: N802
