"""Text to token ids: the bundled stories, any UTF-8 file, or a public data set."""

from __future__ import annotations

import errno
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from ._validate import as_size

BUNDLED = ("lily", "primer", "tales")
SEPARATOR = "<sep>"
UNKNOWN = "<unk>"

BLANK_LINES = re.compile(r"\n\s*\n")
# Controls other than white space: a text has none, a file of another kind or encoding does.
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")

# The pattern for the commonest case, ASCII; UNICODE below agrees with it and is three times slower.
ASCII = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
# Scripts that write no space between words. Unicode's annex 29 ends a word at each of their
# characters, but not inside a run of katakana; finding their words takes a dictionary.
ONE_BY_ONE = r"[\p{Han}\p{Hiragana}\p{Line_Break=Complex_Context}]"
KATAKANA = r"\p{Word_Break=Katakana}"
UNSPACED = regex.compile(ONE_BY_ONE, regex.V1)
LETTER = rf"[\p{{L}}\p{{N}}_--{ONE_BY_ONE}--{KATAKANA}]"
# Joiners are part of a word's spelling (Persian, Malayalam).
WORD = rf"{LETTER}(?:{LETTER}|[\p{{M}}\u200C\u200D])*+"
UNICODE = regex.compile(
    rf"{WORD}(?:['\u2019]{WORD})*+"
    rf"|{KATAKANA}[{KATAKANA}\p{{M}}]*+"
    # \X: one character as readers see it, with its marks: a Thai syllable's parts, an emoji, "!".
    rf"|(?![\s\x1C-\x1F\u200B])\X",
    regex.V1,
)
# Soft hyphens, byte-order and direction marks and the like: they change the layout, not the words.
# The zero-width space stays, it is a space; so do the tags of flags, and joiners that join or that
# follow a mark (they end some words of Malayalam).
JOINED = r"[\p{L}\p{M}\p{N}\p{S}]"
LAYOUT = regex.compile(
    r"[\p{Cf}&&\p{Default_Ignorable_Code_Point}--[\u200B-\u200D\U000E0020-\U000E007F]]"
    rf"|(?<!{JOINED})[\u200C\u200D]"
    rf"|(?<!\p{{M}})[\u200C\u200D](?!{JOINED})",
    regex.V1,
)


def tokenize(text: str) -> list[str]:
    """Lower-case words (with inner apostrophes) and single punctuation marks, in reading order.

    Every script: a letter keeps its combining marks, letters written as one or as two characters
    are the same (Unicode's normal form C), and invisible characters of layout, such as the
    soft hyphen, are dropped. Han characters, hiragana, Thai, Lao, Khmer and Burmese stand without
    spaces between words, which only a dictionary could find: there each character (with its marks)
    is a token of its own, a run of katakana is one. For words in these scripts give token ids of
    another tokenizer to `SoftLabels.from_tokens`.

    >>> tokenize('Mia said, "It\\'s hot!"')
    ['mia', 'said', ',', '"', "it's", 'hot', '!', '"']
    """
    if text.isascii():
        return ASCII.findall(text.lower())
    return UNICODE.findall(normalized(text))


def normalized(text: str) -> str:
    """Lower case, normal form C, without invisible characters of layout."""
    visible = LAYOUT.sub("", unicodedata.normalize("NFC", text))
    # Lower case can leave a letter with a mark for which there is one character.
    return unicodedata.normalize("NFC", visible.lower())


def stands_alone(token: str) -> bool:
    """Is it a character of a script without spaces between words, which is cut into characters?"""
    return UNSPACED.match(token) is not None


def split_stories(text: str) -> list[list[str]]:
    """The tokens of each story; blank lines part stories, and empty ones are left out."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    stories = [tokenize(part) for part in BLANK_LINES.split(lines)]
    return [words for words in stories if words]


def join_stories(stories: Iterable[list[str]]) -> list[str]:
    """One list of tokens, with `<sep>` between stories."""
    joined = [token for story in stories for token in (SEPARATOR, *story)]
    return joined[1:]


@dataclass(frozen=True)
class Vocabulary:
    """The token list: position in the list = token id. `len(vocab)` is the paper's V."""

    tokens: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each token."""
        return {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> str:
        return self.tokens[i]

    def encode(self, tokens: str | Iterable[str]) -> NDArray[np.int64]:
        """Token ids of a text, as `load_corpus` gives them, or of a list of tokens.

        Blank lines of a text part stories, which `<sep>` joins. A token that the vocabulary
        lacks becomes `<unk>`; ValueError if it lacks `<unk>` as well.
        """
        words = join_stories(split_stories(tokens)) if isinstance(tokens, str) else list(tokens)
        unknown = self.index.get(UNKNOWN, -1)
        ids = [self.index.get(word, unknown) for word in words]
        if -1 in ids:
            word = words[ids.index(-1)]
            remedy = "; encode its stories one by one" if word == SEPARATOR else ""
            raise ValueError(
                f"Token {word!r} is not in the vocabulary, which has no {UNKNOWN}{remedy}."
            )
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The tokens of `ids`, joined by spaces."""
        return " ".join(self.tokens[i] for i in ids)


def load_corpus(
    name: str | Path, max_vocab: int | None = None, max_stories: int | None = None
) -> tuple[NDArray[np.int64], Vocabulary]:
    """Load a text and return `(ids, vocab)`: int64 token ids and their Vocabulary.

    name : "lily", "primer" or "tales" (bundled, written for this project), "tinystories" (the
        public data set, needs the `hub` extra and a network), or a path to a UTF-8 text file
        ("~" is the home folder). Blank lines separate stories; stories are joined by `<sep>`.
    max_vocab : keep this many tokens, counting `<sep>` and `<unk>`; the commonest words stay
        and all others become `<unk>`. None keeps every word, and there is no `<unk>`.
    max_stories : read only the first stories (default: all; 10,000 for "tinystories").

    Special tokens come first in the vocabulary, then words by decreasing frequency, ties
    alphabetically. `tokenize` says what a word is. Raises ValueError for an unknown name, a folder,
    an empty text, a text that is not UTF-8 or has control characters, max_vocab < 3 or
    max_stories < 1; FileNotFoundError for a missing file; OSError if a file cannot be read or the
    data set cannot be reached.
    """
    if max_vocab is not None:
        max_vocab = as_size(max_vocab, "max_vocab", minimum=3)  # <sep>, <unk> and a word
    if max_stories is not None:
        max_stories = as_size(max_stories, "max_stories")
    if name == "tinystories":
        read = _tinystories(max_stories or 10_000)
        stories = [words for words in map(tokenize, read) if words]
    else:
        stories = split_stories(_read_text(name))
    stories = stories[:max_stories]
    if not stories:
        raise ValueError(f"The text {str(name)!r} is empty; give a text with at least one word.")
    vocab = _vocabulary(stories, max_vocab)
    return vocab.encode(join_stories(stories)), vocab


def _vocabulary(stories: list[list[str]], max_vocab: int | None) -> Vocabulary:
    counts = Counter(word for story in stories for word in story)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    special = [SEPARATOR] if len(stories) > 1 else []
    if max_vocab is not None and len(words) + len(special) > max_vocab:
        special.append(UNKNOWN)
        words = words[: max_vocab - len(special)]
    return Vocabulary((*special, *words))


def _read_text(name: str | Path) -> str:
    if name in BUNDLED:
        return (Path(__file__).parent / "data" / f"{name}.txt").read_text("utf-8")
    path = find_file(name, what="text")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        guess = ", and looks like UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ValueError(
            f"{str(name)!r} is not UTF-8 (byte {error.start}){guess}; save the text as UTF-8 first."
        ) from None
    control = CONTROLS.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        kind = "a NUL" if control[0] == "\0" else f"the control character U+{ord(control[0]):04X}"
        guess = ", as UTF-16 text and binary files have" if control[0] == "\0" else ""
        raise ValueError(
            f"{str(name)!r} has {kind} in line {line}{guess}; save it as plain UTF-8 text first."
        )
    return text


def find_file(name: str | Path, what: str) -> Path:
    """The path of a file that can be read; one sentence if it is none.

    Raises FileNotFoundError if nothing is there, OSError for a circle of links, and ValueError for
    a folder or a name that looks like a bundled text's.
    """
    path = _expanded(name)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _nothing_there(name, path, what, error) from None
    if stat.S_ISDIR(mode):
        raise ValueError(f"{str(name)!r} is a folder; give the path of a {what} file.")
    return path


def _expanded(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~somebody" without such a user
        return Path(name)


def _nothing_there(name: str | Path, path: Path, what: str, error: OSError) -> Exception:
    """What to say about a path that leads nowhere."""
    shown = repr(str(name))
    if error.errno == errno.ELOOP:
        return OSError(f"{shown} is a link that leads back to itself; give the {what} file itself.")
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return OSError(f"{shown} cannot be read ({error.strerror}); check the path of your {what}.")
    if path.is_symlink():
        return FileNotFoundError(
            f"{shown} is a link to {str(path.readlink())!r}, where nothing is; check the link."
        )
    bare = str(name)
    if what == "text" and bare.strip() in BUNDLED:
        return ValueError(f"Unknown corpus {shown}; write {bare.strip()!r}, without the spaces.")
    if what == "text" and path.name == bare and not path.suffix:
        known = ", ".join((*BUNDLED, "tinystories"))
        return ValueError(f"Unknown corpus {shown}; use one of {known}, or a path to a text file.")
    return FileNotFoundError(f"No file at {shown}; check the path of your {what}.")


def _tinystories(max_stories: int) -> list[str]:
    remedy = f"The bundled texts need no network: {', '.join(BUNDLED)}."
    try:
        from datasets import load_dataset  # an optional extra: ntp_lite[hub]

        rows: Any = load_dataset("roneneldan/TinyStories", split="train", streaming=True)
        return [row["text"].replace("\n\n", "\n") for row in rows.take(max_stories)]
    except ImportError:
        raise OSError(f'"tinystories" needs: pip install "ntp_lite[hub]". {remedy}') from None
    except Exception as error:  # the hub's client raises many kinds when it is offline
        raise OSError(f"The TinyStories data set cannot be reached ({error}). {remedy}") from error
