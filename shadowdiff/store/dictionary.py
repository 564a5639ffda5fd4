"""What many payloads share, so that each is stored without it: a zstd dictionary learned from examples.

In: example payloads.  Out: a dictionary's content; from content, a `Dictionary` that compresses and expands.
Holds: of what an example says only words that many of the others say too are learned from; everything else is replaced
by letters and digits drawn at random, since a dictionary outlives what it was learned from. Pure but for that draw.
Source: RFC 8878, section 5 (dictionaries); zstandard's `train_dictionary` (COVER).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ID_BYTES: Final = 4
CONTENT_BYTES: Final = 16 << 10
"""Four times as much leaves the same."""
LEVEL: Final = 1
"""With a dictionary it takes 3 us for 2 KB, less than level -1 without one, and leaves half of what that leaves."""
COMMON_SHARE: Final = 0.1
"""The share of examples that must say a word for it to be learned from."""
LONGEST_WORD: Final = 24
"""Keys and tokens are longer, and secret however many bear the same one; names are not."""
_WORD: Final = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_ALPHABETS: Final = tuple(
    (frozenset(signs), signs) for signs in (b"0123456789", b"0123456789abcdef", b"0123456789abcdefghijklmnopqrstuvwxyz")
)


class Dictionary:
    """A dictionary in use; `id` is the beginning of its content's digest."""

    __slots__ = ("_compress", "_expand", "content", "id")

    def __init__(self, content: bytes) -> None:
        """Make ready to use. Raises: zstandard.ZstdError where the content is no dictionary."""
        self.content = content
        self.id = hashlib.sha256(content).digest()[:ID_BYTES]
        trained = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_FULLDICT)
        cast("Any", trained).precompute_compress(LEVEL)
        self._compress = zstandard.ZstdCompressor(dict_data=trained, level=LEVEL, write_dict_id=False).compress
        self._expand = zstandard.ZstdDecompressor(dict_data=trained).decompress

    def compress(self, payload: bytes) -> bytes:
        """Return the payload without what it shares with others."""
        return self._compress(payload)

    def expand(self, compressed: bytes, most_bytes: int) -> bytes:
        """Return the payload. Raises: zstandard.ZstdError where it is damaged, or longer."""
        return bounded(self._expand, compressed, most_bytes)


def bounded(expand: Callable[..., bytes], compressed: bytes, most_bytes: int) -> bytes:
    """Return what a zstd frame holds. Raises: zstandard.ZstdError where it is damaged, or longer.

    A frame that states its size is believed by zstandard, which then makes room for so much, whatever the bound.
    """
    if zstandard.frame_content_size(compressed) > most_bytes:
        raise zstandard.ZstdError(f"it says that it is longer than {most_bytes} bytes")
    return expand(compressed, max_output_size=most_bytes)


def _at_once() -> None:
    pass


def learn(examples: Sequence[bytes], between: Callable[[], object] = _at_once) -> bytes | None:
    """Return the content of a dictionary for payloads like these; None where they share too little to tell.

    between: called between two examples, so that who learns beside other work can let that go on.
    """
    try:
        return zstandard.train_dictionary(CONTENT_BYTES, cast("Any", masked(examples, between))).as_bytes()
    except zstandard.ZstdError:
        return None


def masked(examples: Sequence[bytes], between: Callable[[], object] = _at_once) -> list[bytes]:
    """Return the examples with every word that few of them say replaced by one of its length that says nothing."""
    said: Counter[bytes] = Counter()
    for example in examples:
        said.update(set(_WORD.findall(example)))
        between()
    least = max(2, COMMON_SHARE * len(examples))
    common = {word for word, times in said.items() if times >= least and len(word) <= LONGEST_WORD}
    draw = random.Random(len(examples))  # noqa: S311 - no secret: it stands in the place of one

    def mask(found: re.Match[bytes]) -> bytes:
        word = found[0]
        if word in common:
            return word
        signs = next((signs for known, signs in _ALPHABETS if known.issuperset(word)), _ALPHABETS[-1][1])
        return bytes(draw.choices(signs, k=len(word)))

    hidden: list[bytes] = []
    for example in examples:
        hidden.append(_WORD.sub(mask, example))
        between()
    return hidden
