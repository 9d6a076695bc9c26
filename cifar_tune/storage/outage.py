"""What is known of a database that cannot be written."""

from dataclasses import dataclass

from sqlalchemy.engine import URL

from cifar_tune.storage.rdb import own_words
from cifar_tune.storage.urls import without_secrets


@dataclass(frozen=True, slots=True)
class Outage:
    """The database cannot be written since `since` (seconds of `time.monotonic`); `error` is its last answer.

    `url` is that of the database, whose password must not be repeated.
    """

    since: float
    error: BaseException
    url: URL | None = None

    @property
    def words(self) -> str:
        """The database's own words, on one line, without its password."""
        words = own_words(self.error.__cause__ or self.error)
        return words if self.url is None else without_secrets(words, self.url)
