"""The formats of webhook messages. Each module here is one format, and its name is a value of `webhooks[].format`.

To add a format, add a module with `encode(event) -> bytes`, which returns JSON. The module is found automatically.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.notify.event import Event


FORMATS: Final[Mapping[str, Callable[[Event], bytes]]] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}").encode for found in pkgutil.iter_modules(__path__)
}
DEFAULT: Final = "default"
