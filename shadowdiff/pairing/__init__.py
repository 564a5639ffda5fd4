"""Pairing: observations in, in any order; pairs out, exactly one per key; the books of both.

`key` and `sample` say what belongs together, `park` brings observations into Redis, `claim` and `commit`
take pairs out once, `sweep` settles what is due, `books` and `ledger` account for all of it.
"""

from shadowdiff.pairing.books import BookKeeper
from shadowdiff.pairing.claim import Claim, Claimer
from shadowdiff.pairing.codec import Codec, UndecodableError
from shadowdiff.pairing.commit import Judged, commit, ledger_write
from shadowdiff.pairing.dictionaries import Dictionaries
from shadowdiff.pairing.key import identifier, key_of
from shadowdiff.pairing.ledger import Ledger, read_ledger
from shadowdiff.pairing.names import ledger as ledger_name
from shadowdiff.pairing.names import routes as routes_name
from shadowdiff.pairing.park import Parker, ParkSettings
from shadowdiff.pairing.sample import keeps
from shadowdiff.pairing.sweep import Orphan, Sweeper

__all__ = [
    "BookKeeper",
    "Claim",
    "Claimer",
    "Codec",
    "Dictionaries",
    "Judged",
    "Ledger",
    "Orphan",
    "ParkSettings",
    "Parker",
    "Sweeper",
    "UndecodableError",
    "commit",
    "identifier",
    "keeps",
    "key_of",
    "ledger_name",
    "ledger_write",
    "read_ledger",
    "routes_name",
]
