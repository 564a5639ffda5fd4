"""A zstd compression dictionary of words that occur in many payloads, learned from examples.

Only words that many examples contain are learned. Random letters and digits replace all other words, because a
dictionary is kept longer than its examples. Except for the random words, this module is pure.
Source: RFC 8878, section 5 (dictionaries), and `train_dictionary` of zstandard (COVER algorithm).
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
"""A dictionary of four times this size compresses no better."""
LEVEL: Final = 1
"""With a dictionary: 3 us for 2 KB, less than level -1 without one, and half the result."""
COMMON_SHARE: Final = 0.1
"""The share of examples that must contain a word."""
LONGEST_WORD: Final = 24
"""Longer words are not learned, because they may be keys or tokens. Names are shorter."""
_WORD: Final = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_ALPHABETS: Final = tuple(
    (frozenset(signs), signs) for signs in (b"0123456789", b"0123456789abcdef", b"0123456789abcdefghijklmnopqrstuvwxyz")
)


class Dictionary:
    """A compression dictionary that is ready for use; `id` is the beginning of the content's digest."""

    __slots__ = ("_decompress", "compress", "content", "id")

    def __init__(self, content: bytes) -> None:
        """Prepare the dictionary. Raises: zstandard.ZstdError if the content is not a compression dictionary."""
        self.content = content
        self.id = hashlib.sha256(content).digest()[:ID_BYTES]
        trained = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_FULLDICT)
        cast("Any", trained).precompute_compress(LEVEL)
        self.compress = zstandard.ZstdCompressor(dict_data=trained, level=LEVEL, write_dict_id=False).compress
        self._decompress = zstandard.ZstdDecompressor(dict_data=trained).decompress

    def decompress(self, compressed: bytes, most_bytes: int) -> bytes:
        """Return the payload. Raises: zstandard.ZstdError if the frame is damaged or too long."""
        return decompress(self._decompress, compressed, most_bytes)


def decompress(function: Callable[..., bytes], compressed: bytes, most_bytes: int) -> bytes:
    """Return the content of a zstd frame. Raises: zstandard.ZstdError if the frame is damaged or too long.

    zstandard allocates the size that a frame states, even beyond the limit, so the size is checked first.
    """
    if zstandard.frame_content_size(compressed) > most_bytes:
        raise zstandard.ZstdError(f"the header states more than {most_bytes} bytes of content")
    return function(compressed, max_output_size=most_bytes)


def learn(examples: Sequence[bytes], between: Callable[[], object] = lambda: None) -> bytes | None:
    """Return a compression dictionary for payloads like the examples, or None if these are too different.

    between: called after each example, so that learning can yield to other work.
    """
    try:
        return zstandard.train_dictionary(CONTENT_BYTES, cast("Any", masked(examples, between))).as_bytes()
    except zstandard.ZstdError:
        return None


def masked(examples: Sequence[bytes], between: Callable[[], object] = lambda: None) -> list[bytes]:
    """Return the examples, with each rare word replaced with a random word of the same length."""
    counts: Counter[bytes] = Counter()
    for example in examples:
        counts.update(set(_WORD.findall(example)))
        between()
    least = max(2, COMMON_SHARE * len(examples))
    common = {word for word, count in counts.items() if count >= least and len(word) <= LONGEST_WORD}
    random_source = random.Random(len(examples))  # noqa: S311 - not a secret: it replaces one

    def mask(found: re.Match[bytes]) -> bytes:
        word = found[0]
        if word in common:
            return word
        signs = next((signs for known, signs in _ALPHABETS if known.issuperset(word)), _ALPHABETS[-1][1])
        return bytes(random_source.choices(signs, k=len(word)))

    result: list[bytes] = []
    for example in examples:
        result.append(_WORD.sub(mask, example))
        between()
    return result
