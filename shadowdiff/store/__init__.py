"""Redis: connection, key names, script runner, embedded server. Holds no policy."""

from shadowdiff.store.dictionary import Dictionary, learn
from shadowdiff.store.keys import Keys
from shadowdiff.store.scripts import Script
from shadowdiff.store.shelf import SHELF_LUA, SWEEP_SHELF
from shadowdiff.store.store import Credentials, Store, StoreMisfitError, connect, open_client, said
from shadowdiff.store.unreadable import UnreadableError, number, reading, size
from shadowdiff.store.vault import MAX_OPENED_BYTES, UnopenableError, Vault, dictionary_of

__all__ = [
    "MAX_OPENED_BYTES",
    "SHELF_LUA",
    "SWEEP_SHELF",
    "Credentials",
    "Dictionary",
    "Keys",
    "Script",
    "Store",
    "StoreMisfitError",
    "UnopenableError",
    "UnreadableError",
    "Vault",
    "connect",
    "dictionary_of",
    "learn",
    "number",
    "open_client",
    "reading",
    "said",
    "size",
]
