"""Redis: connection, key names, script runner, embedded server. Holds no policy."""

from shadowdiff.store.keys import Keys
from shadowdiff.store.scripts import Script
from shadowdiff.store.store import Store, StoreMisfitError, connect, said

__all__ = ["Keys", "Script", "Store", "StoreMisfitError", "connect", "said"]
