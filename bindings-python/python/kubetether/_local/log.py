"""What a local server was asked and what it answered, for reports."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .http import Request

_log = logging.getLogger("kubetether.local")

#: Entries that are kept; older ones go.
ENTRIES = 1000


class Entry:
    """One request as a report shows it."""

    __slots__ = ("at", "line", "status", "seconds", "error")

    def __init__(self, at: float, line: str) -> None:
        #: When it came, in seconds since the epoch.
        self.at = at
        #: Method and target.
        self.line = line
        #: The answer's status; 0 while there is none.
        self.status = 0
        #: From the head to the end of the answer; to its beginning, while it goes on.
        self.seconds = 0.0
        #: What the handler raised, with its traceback; empty when nothing.
        self.error = ""

    def answered(self, status: int) -> None:
        """The answer begins, or is over. Said before the caller can see it, so that who has an answer finds it here."""
        self.status = status
        self.seconds = time.time() - self.at

    def cut(self, why: object) -> None:
        """The answer was not sent to its end."""
        self.error = f"cut: {why}"
        self.seconds = time.time() - self.at

    def raised(self, error: Exception) -> None:
        """What is to answer raised this."""
        self.error = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        _log.warning("%s: the handler raised %r", self.line, error)

    def __str__(self) -> str:
        clock = _clock(self.at)
        if not self.status and not self.error:
            return f"{clock} {self.line} -> not answered yet"
        text = f"{clock} {self.line} -> {self.status or 'no answer'} ({self.seconds * 1000:.1f} ms)"
        return f"{text}\n{self.error.rstrip()}" if self.error else text


class Note(Entry):
    """What happened between requests."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{_clock(self.at)} {self.line}"


class Log:
    """The last requests of one server. Safe to use from several threads."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=ENTRIES)
        self._lock = threading.Lock()
        self._came = 0

    def begin(self, request: Request) -> Entry:
        entry = Entry(request.received, f"{request.method} {request.target}")
        self._add(entry)
        return entry

    def note(self, text: str) -> None:
        """What is no request, and what somebody should look at."""
        _log.warning("%s", text)
        self._add(Note(time.time(), text))

    def _add(self, entry: Entry) -> None:
        with self._lock:
            self._came += 1
            self._entries.append(entry)

    def lines(self) -> list[str]:
        """One text per request, oldest first; the first says how many older ones there were."""
        with self._lock:
            entries, came = list(self._entries), self._came
        older = [f"({came - len(entries)} older ones)"] if came > len(entries) else []
        return older + [str(entry) for entry in entries]


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03}"
