"""News for those who do not look: what is new is told to the receivers that the configuration names."""

from shadowdiff.notify.news import News
from shadowdiff.notify.receiver import Receiver, signature

__all__ = ["News", "Receiver", "signature"]
