"""Redis: connection, key names, script runner, embedded server. Holds no policy."""

from shadowdiff.store.keys import Keys
from shadowdiff.store.scripts import Script
from shadowdiff.store.shelf import SHELF_LUA, SWEEP_SHELF
from shadowdiff.store.store import Credentials, Store, StoreMisfitError, connect, open_client, said
from shadowdiff.store.vault import UnopenableError, Vault

__all__ = [
    "SHELF_LUA",
    "SWEEP_SHELF",
    "Credentials",
    "Keys",
    "Script",
    "Store",
    "StoreMisfitError",
    "UnopenableError",
    "Vault",
    "connect",
    "open_client",
    "said",
]
