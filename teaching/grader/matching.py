"""Which student a file belongs to, by its name.

Canvas and Moodle write the sender into the name of each file of a bulk download; after it comes
what the sender called the file. Where a system wrote, its own fields tell the student:

* Moodle: `Full name_7001_assignsubmission_file_...`, as a folder or the beginning of a file's name;
* Canvas: `lovelaceada_LATE_101_555_...`: the name in small letters without blanks, a mark where it
  is late, the numbers of student and submission, and then the sender's own words.

The number counts in a roster of the same system, else the name. The sender's own words count where
these fields tell nobody, and are weak: they yield to any other file of that student.

Any other name is read as a whole and between underscores. A number counts before a login, a login
before an address, an address before a name: the later, the easier to choose. Words that most
files have in their names tell nobody, but for numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_MOODLE = re.compile(r"_(\d+)_assignsubmission_(?:file_?|onlinetext_?)?")
_CANVAS = re.compile(r"([^\W\d_][^_]*?)(?:_LATE)?_(\d+)_\d+_(.+)")
_FEWEST_FILES = 5  # of which it can be said what most have in common


@dataclass(frozen=True)
class Keys:
    """What a student's files may be called after, all in small letters."""

    system: str  # "Canvas" or "Moodle", where the number is theirs
    system_number: str
    numbers: set[str]  # all that the school or the system gave
    logins: set[str]
    addresses: set[str]  # whole, and up to the @
    name: str

    def has_name(self, written: str) -> bool:
        """Say whether this is the student's name, in any of the ways in which systems write it."""
        return bool(self.name) and _letters(written) in _letters_in_any_order(self.name)


@dataclass(frozen=True)
class Claim:
    """A file, and the student whom its name tells."""

    student: int  # the place in the roster
    sender: str = ""  # as the system numbers senders; "" where it wrote nothing
    is_weak: bool = False  # told by the sender's own words


@dataclass(frozen=True)
class _Sender:
    """What a system wrote into a file's name."""

    system: str
    name: str
    number: str
    own_words: str


def find_claims(students: list[Keys], files: list[str]) -> dict[str, Claim]:
    """Return the student of each file whose name tells one, and one only."""
    common = _common_words(files)
    claims = {}
    for file in files:
        sender = _sender(students, file)
        if sender is None:
            found, is_weak = _by_words(students, _words(file), common), False
        else:
            found, is_weak = _by_sender(students, sender, common)
        if len(found) == 1:
            number = f"{sender.system} {sender.number}" if sender else ""
            claims[file] = Claim(found.pop(), number, is_weak)
    return claims


def settle(claims: dict[str, Claim]) -> tuple[dict[str, int], dict[int, list[str]]]:
    """Return the student of each file, and the files of students for whom several senders claim.

    Among different senders nobody can choose but a person who knows them.
    """
    of_student: dict[int, dict[str, Claim]] = {}
    for file, claim in claims.items():
        of_student.setdefault(claim.student, {})[file] = claim
    owners: dict[str, int] = {}
    disputed: dict[int, list[str]] = {}
    for student, files in of_student.items():
        strong = {file: claim for file, claim in files.items() if not claim.is_weak} or files
        if len({claim.sender for claim in strong.values() if claim.sender}) > 1:
            disputed[student] = list(strong)
        else:
            owners |= dict.fromkeys(strong, student)
    return owners, disputed


# --- Names that a system wrote ---


def _sender(students: list[Keys], file: str) -> _Sender | None:
    parts = file.split("/")
    for place, part in enumerate(parts):
        elsewhere = ["", *parts[:place], *parts[place + 1 :]]
        # A name or a file that looks like the system's own fields makes several readings.
        readings = [
            _Sender(
                "Moodle", part[: found.start()], found[1], part[found.end() :] + "/".join(elsewhere)
            )
            for found in _MOODLE.finditer(part)
        ]
        if len(readings) > 1:
            readings = [r for r in readings if any(_is_whole(keys, r) for keys in students)]
            return (
                readings[0] if len(readings) == 1 else _Sender("Moodle", "", "", "")
            )  # tells nobody
        if readings:
            return readings[0]
    return _sender_of_canvas(students, parts)


def _sender_of_canvas(students: list[Keys], parts: list[str]) -> _Sender | None:
    """Read the outermost part that tells a student: what lies in it is called as the sender likes.

    Where none does, the innermost one that has the system's form.
    """
    readings = []
    for place, part in enumerate(parts):
        if found := _CANVAS.fullmatch(part):
            name, number, own_words = found.groups()
            elsewhere = [*parts[:place], *parts[place + 1 :]]
            readings.append(_Sender("Canvas", name, number, "/".join([own_words, *elsewhere])))
    telling = (reading for reading in readings if _told_by_fields(students, reading))
    return next(telling, readings[-1] if readings else None)


def _is_whole(keys: Keys, sender: _Sender) -> bool:
    return keys.system_number == sender.number and keys.has_name(sender.name)


def _by_sender(students: list[Keys], sender: _Sender, common: set[str]) -> tuple[set[int], bool]:
    """Return the students whom a system's fields tell, and whether only own words do."""
    found = _told_by_fields(students, sender)
    own_words = _words(sender.own_words)
    if len(found) > 1:
        return found & _by_words(students, own_words, common), False
    if found:
        return found, False
    # What looks like a system's fields may be a person's words, as in ada_2027_1_ps1.
    words = {sender.name.casefold(), sender.number} | own_words
    return _by_words(students, words - {""}, common), True


def _told_by_fields(students: list[Keys], sender: _Sender) -> set[int]:
    """Return the students whom the system's own fields tell."""
    places = list(enumerate(students))
    found = {
        place
        for place, keys in places
        if keys.system == sender.system and keys.system_number == sender.number
    }
    if not found:
        found = {place for place, keys in places if keys.has_name(sender.name)}
        found |= {
            place
            for place, keys in places
            if keys.system != sender.system and sender.number in keys.numbers
        }
    return found


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _letters_in_any_order(name: str) -> set[str]:
    """Return the letters of a name that begins with any of its words: `leeann` for Ann Lee."""
    words = name.replace(",", " ").split()
    return {_letters("".join(words[turn:] + words[:turn])) for turn in range(len(words))}


# --- Names that a person wrote ---


def _words(name: str) -> set[str]:
    words = {name}
    for part in name.split("/"):
        words |= {part, *part.split("_")}
    return {word.strip().casefold() for word in words} - {""}


def _common_words(files: list[str]) -> set[str]:
    if len(files) < _FEWEST_FILES:
        return set()
    counts = Counter(word for file in files for word in _words(file))
    return {word for word, count in counts.items() if 2 * count > len(files)}


def _by_words(students: list[Keys], words: set[str], common: set[str]) -> set[int]:
    """Return the students whom words tell; several where number and login differ."""
    numbers = {number for keys in students for number in keys.numbers}
    others = words - numbers - common
    places = list(enumerate(students))
    issued = {place for place, keys in places if keys.numbers & words}
    issued |= {place for place, keys in places if keys.logins & others}
    if issued:
        return issued
    with_address = {place for place, keys in places if keys.addresses & others}
    return with_address or {place for place, keys in places if keys.name in others}
