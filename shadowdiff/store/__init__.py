"""Access Redis: connections, key names, scripts, stored values and the embedded server."""

from shadowdiff.store.connections import check_url, connect, open_client
from shadowdiff.store.dictionary import Dictionary, learn
from shadowdiff.store.errors import STORE_ERRORS, UnreadableError, describe_error, number, reading, size
from shadowdiff.store.keys import Keys
from shadowdiff.store.redis_store import Store, StoreMismatchError
from shadowdiff.store.scripts import BOTTOM_SAMPLE_LUA, SAMPLE_SET_LUA, SWEEP_SAMPLE_SET, Script
from shadowdiff.store.value_codec import MAX_VALUE_BYTES, ValueCodec, ValueCodecError, dictionary_id_of

__all__ = [
    "BOTTOM_SAMPLE_LUA",
    "MAX_VALUE_BYTES",
    "SAMPLE_SET_LUA",
    "STORE_ERRORS",
    "SWEEP_SAMPLE_SET",
    "Dictionary",
    "Keys",
    "Script",
    "Store",
    "StoreMismatchError",
    "UnreadableError",
    "ValueCodec",
    "ValueCodecError",
    "check_url",
    "connect",
    "describe_error",
    "dictionary_id_of",
    "learn",
    "number",
    "open_client",
    "reading",
    "size",
]
