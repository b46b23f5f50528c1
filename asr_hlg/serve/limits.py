"""Who may use the server, and how much of it at the same time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from asr_hlg.errors import AsrHlgError, OptionError


class Refused(AsrHlgError):
    """Error with which a client is refused.

    Parameters
    ----------
    message : str
        The reason, for the client.
    status : int
        HTTP status.
    code : str
        Word for programs, as in OpenAI's errors.
    param : str, optional
        The field of the request that is at fault.
    """

    def __init__(self, message: str, status: int = 400, code: str = "", param: str | None = None):
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    @property
    def close_code(self) -> int:
        """Code with which a WebSocket is closed for this reason (RFC 6455, section 7.4.1)."""
        return {401: 1008, 403: 1008, 408: 1008, 413: 1009, 429: 1013, 503: 1013}.get(
            self.status, 1007
        )


class Slots:
    """A number of places, each of which one client has at a time.

    Parameters
    ----------
    number : int
    what : str
        What takes a place, for the message: "streams".

    Attributes
    ----------
    taken, ended : int
        Places that are taken now, and that have been given back so far.
    """

    def __init__(self, number: int, what: str):
        self.number, self.what = number, what
        self.taken = self.ended = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for the time of the block; `Refused` if all are taken."""
        if self.taken >= self.number:
            raise Refused(
                f"the server has no room for more than {self.number} {self.what}: try again later",
                429,
                "too_many",
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self.ended += 1


class Keys:
    """API keys; without a file, no key is needed.

    Keys are compared by their hashes and in constant time, and every key is compared, so that the
    time of an answer says nothing about them.
    """

    def __init__(self, path: Path | None):
        self._digests: list[bytes] | None = None
        if path is not None:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "is not UTF-8"
                raise OptionError(f"the keys cannot be read: {reason}", path=path) from None
            keys = [line.strip() for line in lines]
            self._digests = [_digest(key) for key in keys if key and not key.startswith("#")]
            if not self._digests:
                raise OptionError("has no keys", path=path, remedy="write one key a line")

    @property
    def are_needed(self) -> bool:
        """Whether clients need a key."""
        return self._digests is not None

    def check(self, key: str | None) -> None:
        """Refuse a wrong key, or none where one is needed."""
        if self._digests is None:
            return
        given = _digest(key or "")
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if not any(matches):
            message = "the API key is wrong" if key else "the server needs an API key"
            raise Refused(message, 401, "invalid_api_key")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def bearer(headers: Mapping[str, str]) -> str | None:
    """Key of a request: the token of ``Authorization: Bearer``."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" and key.strip() else None


def check_origin(headers: Mapping[str, str], allowed: tuple[str, ...]) -> None:
    """Refuse requests that a browser makes for a page of another server.

    Browsers send ``Origin`` with them; programs do not. ``"*"`` allows all pages.
    """
    origin = headers.get("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return
    if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refused("pages of other servers may not use this one", 403, "forbidden_origin")
