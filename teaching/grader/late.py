"""Points for late submissions."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from datetime import date, datetime, time

from teaching.grader.errors import BadInputError

# Moodle's, in British and American English.
_MOODLE_FORMATS = (
    *("%A, %d %B %Y, %I:%M %p", "%A, %d %B %Y, %H:%M"),
    *("%A, %B %d, %Y, %I:%M %p", "%A, %B %d, %Y, %H:%M"),
)
_DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class LatePolicy:
    """When a set is due, and which share of the points each day costs that has begun since."""

    due: datetime
    percent_per_day: float

    def days_late(self, submitted: datetime | None) -> int:
        """Return how many days have begun since the set was due."""
        if submitted is None:
            return 0
        return max(0, math.ceil((submitted - self.due).total_seconds() / _DAY_SECONDS))

    def reduction(self, points: float, submitted: datetime | None) -> float:
        """Return the points that are taken off; never more than there are."""
        share = min(1.0, self.days_late(submitted) * self.percent_per_day / 100)
        return round(points * share, 2)


def read_due(text: str, where: str) -> datetime:
    """Return when a set is due; a day without a time means the end of that day."""
    with contextlib.suppress(ValueError):
        return datetime.combine(date.fromisoformat(text.strip()), time.max).astimezone()
    return read_time(text, where)


def read_time(text: str, where: str) -> datetime:
    """Return a time; one without a time zone is the time of this machine's place."""
    text = " ".join(text.split())  # Moodle writes some of its spaces as spaces that do not break
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text).astimezone()
    for pattern in _MOODLE_FORMATS:
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, pattern).astimezone()
    raise BadInputError(f"{where}: {text!r} is no time; write 2027-03-01 23:59")
