"""The descriptor set of a target, read and proved.

In: the path of a file, and the messages that routes answer with.  Out: a `ProtobufConfig`.
Holds: what is returned can be used: every import is there, and every message that is named is described.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.config.values import ProtobufConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_protobuf(path: Path, answers: Mapping[str, str]) -> ProtobufConfig:
    """Return the descriptors at `path`.

    Raises: ValueError, saying why they cannot be used.
    """
    from shadowdiff.compare.protobuf import Descriptors

    try:
        descriptor_set = path.read_bytes()
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror or error}") from error
    config = ProtobufConfig(descriptor_set=descriptor_set, answers=tuple(answers.items()))
    Descriptors(config.descriptor_set, config.answers)
    return config
