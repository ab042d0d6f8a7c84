"""Texts of every script to tokens, files of every habit to ids."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import unicodedata
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ntp_lite as ntp


@pytest.mark.parametrize(
    "text, tokens",
    [
        ('Mia said, "It\'s hot!"', ["mia", "said", ",", '"', "it's", "hot", "!", '"']),
        ("A cat.A dog", ["a", "cat", ".", "a", "dog"]),
        ("Wait... what?", ["wait", ".", ".", ".", "what", "?"]),
        ("well-known", ["well", "-", "known"]),
        ("the dogs' bowl", ["the", "dogs", "'", "bowl"]),
        ("don’t", ["don’t"]),
        ("Été 12 straße", ["été", "12", "straße"]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_tokenize(text, tokens):
    assert ntp.tokenize(text) == tokens


@pytest.mark.parametrize(
    "text, tokens",
    [
        # Marks stay with their letter, whether it is written as one character or as two.
        ("हिन्दी में लिखो।", ["हिन्दी", "में", "लिखो", "।"]),
        ("తెలుగు భాష", ["తెలుగు", "భాష"]),
        ("cafe\u0301 CAFE\u0301 café", ["café"] * 3),
        ("İstanbul istanbul", ["i\u0307stanbul", "istanbul"]),
        ("Việt Nam", ["việt", "nam"]),
        ("שָׁלוֹם", [unicodedata.normalize("NFC", "שָׁלוֹם")]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("\u1112\u1161\u11ab", ["한"]),  # the same syllable, spelt by its three letters
        # Layout is invisible; joiners are spelling.
        ("co\u00adop coop", ["coop", "coop"]),
        ("\ufeffend.\n\ufeffStart", ["end", ".", "start"]),
        ("a\u200eb \u2066c\u2069 d\u2060e", ["ab", "c", "de"]),
        ("\u0645\u06cc\u200c\u062e\u0648", ["\u0645\u06cc\u200c\u062e\u0648"]),
        ("\u0d28\u0d4d\u200d x", ["\u0d28\u0d4d\u200d", "x"]),
        ("\u200ccat\u200c cat\u200d \u200d", ["cat", "cat"]),
        ("a\u200bb", ["a", "b"]),  # the zero-width space is a space
        # No spaces between words: a character (with its marks) at a time, katakana in runs.
        ("私は猫が好きです。", list("私は猫が好きです。")),
        ("Tシャツとコンピュータ", ["t", "シャツ", "と", "コンピュータ"]),
        ("三毛猫2匹", ["三", "毛", "猫", "2", "匹"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("ខែមករា", ["ខែ", "ម", "ក", "រា"]),
        # Emoji of several characters are one token.
        ("👍🏽!👨\u200d👩\u200d👧🇬🇧🇫🇷", ["👍🏽", "!", "👨\u200d👩\u200d👧", "🇬🇧", "🇫🇷"]),
        ("👩🏽\u200d🚀 1\ufe0f\u20e3", ["👩🏽\u200d🚀", "1\ufe0f\u20e3"]),
        (" \u0301x", ["\u0301", "x"]),
    ],
)
def test_tokenize_every_script(text, tokens):
    assert ntp.tokenize(text) == tokens


def in_sight(text):
    """Lower case, form C, without white space and without invisible characters."""
    kept = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return "".join(unicodedata.normalize("NFC", kept).lower().split())


@given(st.text())
def test_tokenize_loses_nothing_in_sight(text):
    tokens = ntp.tokenize(text)
    expected = unicodedata.normalize("NFC", in_sight(text))
    assert unicodedata.normalize("NFC", in_sight("".join(tokens))) == expected
    assert all(token and not any(c.isspace() for c in token) for token in tokens)


@given(st.text(st.characters(max_codepoint=127)))
def test_the_quick_way_for_ascii_is_the_general_way(text):
    general = ntp.corpus.UNICODE.findall(text.lower())
    assert ntp.tokenize(text) == general
    # A character beyond ASCII at the end sends the same text the general way.
    assert ntp.tokenize(text + " é") == [*general, "é"]


LATIN = st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="\xad")


@given(st.text(LATIN))
def test_latin_letters_of_one_character_are_cut_as_ever(text):
    """Nothing changes where letters are precomposed: the pattern of the first version."""
    lower = text.lower()
    if unicodedata.normalize("NFC", lower) == lower and "\u0307" not in lower:
        assert ntp.tokenize(text) == re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", lower)


@given(st.text(st.characters(categories=["L", "M", "N", "P", "Zs"])))
def test_both_spellings_of_a_letter_are_one_token(text):
    decomposed = unicodedata.normalize("NFD", text)
    assert ntp.tokenize(decomposed) == ntp.tokenize(unicodedata.normalize("NFC", text))


# SHA-256 of the ids as little-endian int64, made before texts of all scripts were accepted. Every
# number in the book comes from these ids.
FINGERPRINTS = {
    ("lily", None): "a2a30725838f40e0a5753963af42e62aa359d2b70fbffc4e280f774def8ef7fa",
    ("primer", None): "f67e3bce3f37dbabefaf4b4abc8cdcc86a10ecc22a0e9f32fd436d9b06549f2f",
    ("primer", 100): "3dd3c56fd765f9b748539c45f89ca93ef9e2d564ddd7419cf9cccdca53c879cd",
    ("tales", None): "144c251377725ed8fca4180ad01229d340121a1d088c2d8742b86c0fd41d91e3",
    ("tales", 300): "1a35e129f72b895a6d440c0a0e91c599ec964f27de6a7bc60f9b39c255d0682e",
    ("tales", 100): "1542635bbd7e5053b1e75ce98409cb6b29de1071cb92765392e1df48e420e296",
}


@pytest.mark.parametrize(("name", "max_vocab"), FINGERPRINTS)
def test_ids_of_the_bundled_texts_are_what_they_were(name, max_vocab):
    ids, _ = ntp.load_corpus(name, max_vocab=max_vocab)
    digest = hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()
    assert digest == FINGERPRINTS[name, max_vocab]


def test_vocabulary_encodes_and_decodes():
    vocab = ntp.Vocabulary(("<unk>", "the", "cat"))
    assert len(vocab) == 3 and vocab[2] == "cat" and vocab.index["the"] == 1
    ids = vocab.encode("The cat the DOG")
    assert ids.dtype == np.int64 and ids.tolist() == [1, 2, 1, 0]
    assert vocab.encode(["cat", "the"]).tolist() == [2, 1]
    assert vocab.decode(ids) == "the cat the <unk>"
    assert vocab.encode("").tolist() == []


@pytest.mark.parametrize("name", ["lily", "primer", "tales"])
def test_bundled_texts_round_trip(name):
    ids, vocab = ntp.load_corpus(name)
    assert ids.dtype == np.int64 and ids.min() == 0 and ids.max() == len(vocab) - 1
    assert set(ids.tolist()) == set(range(len(vocab)))  # every token occurs
    words = vocab.decode(ids).split(" ")
    np.testing.assert_array_equal(vocab.encode(words), ids)
    assert ("<sep>" in vocab.index) == (name != "lily")
    assert "<unk>" not in vocab.index
    again, _ = ntp.load_corpus(name)
    np.testing.assert_array_equal(again, ids)


@pytest.mark.parametrize("max_vocab", [None, 60])
@pytest.mark.parametrize("name", ["lily", "primer", "tales"])
def test_encode_gives_a_text_the_ids_of_load_corpus(name, max_vocab):
    ids, vocab = ntp.load_corpus(name, max_vocab=max_vocab)
    text = (ntp.corpus.Path(ntp.corpus.__file__).parent / "data" / f"{name}.txt").read_text("utf-8")
    np.testing.assert_array_equal(vocab.encode(text), ids)
    np.testing.assert_array_equal(vocab.encode(text.replace("\n", "\r\n")), ids)


def test_encode_without_a_separator_says_so():
    assert ntp.Vocabulary(("a", "<unk>")).encode("a\n\nb").tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"'<sep>' is not in the vocabulary.*one by one"):
        ntp.Vocabulary(("a", "b")).encode("a\n\nb")


def test_words_stand_by_decreasing_frequency_then_alphabetically(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("b b b c c a a d.\n\ne\n", encoding="utf-8")
    ids, vocab = ntp.load_corpus(path)
    assert vocab.tokens == ("<sep>", "b", "a", "c", ".", "d", "e")
    assert vocab.decode(ids) == "b b b c c a a d . <sep> e"


@pytest.mark.parametrize("name", ["primer", "tales"])
@pytest.mark.parametrize("max_vocab", [3, 50, 100])
def test_max_vocab_counts_the_special_tokens_and_keeps_the_commonest(name, max_vocab):
    full_ids, full = ntp.load_corpus(name)
    ids, vocab = ntp.load_corpus(name, max_vocab=max_vocab)
    assert len(vocab) == max_vocab and vocab.tokens[:2] == ("<sep>", "<unk>")
    assert len(ids) == len(full_ids)
    counted = Counter(full_ids.tolist())
    kept = [counted[full.index[token]] for token in vocab.tokens[2:]]
    dropped = [n for i, n in counted.items() if full[i] not in vocab.index]
    assert min(kept) >= max(dropped)
    assert kept == sorted(kept, reverse=True)
    assert (ids == vocab.index["<unk>"]).sum() == sum(dropped)


def test_a_generous_max_vocab_changes_nothing():
    ids, vocab = ntp.load_corpus("lily")
    same_ids, same = ntp.load_corpus("lily", max_vocab=len(vocab))
    assert same == vocab
    np.testing.assert_array_equal(same_ids, ids)


def test_max_stories_reads_the_first_stories():
    ids, vocab = ntp.load_corpus("tales", max_stories=3)
    assert vocab.decode(ids).count("<sep>") == 2
    all_ids, all_vocab = ntp.load_corpus("tales")
    assert all_vocab.decode(all_ids).startswith(vocab.decode(ids))
    _, one = ntp.load_corpus("tales", max_stories=1)
    assert "<sep>" not in one.index


@pytest.mark.parametrize(
    "raw",
    [
        b"one two\n\nthree\n",
        b"\xef\xbb\xbfone two\n\nthree\n",  # a byte-order mark
        b"one two\r\n\r\nthree\r\n",  # lines end as on Windows
        b"\n\n one two\n  \n\n \nthree\n\n\n",
    ],
)
def test_files_of_every_habit_read_the_same(tmp_path, raw):
    path = tmp_path / "text.txt"
    path.write_bytes(raw)
    for name in (path, str(path)):
        ids, vocab = ntp.load_corpus(name)
        assert vocab.decode(ids) == "one two <sep> three"


@pytest.mark.parametrize("raw", [b"one\x0btwo\x0cthree", "one\x85two\u2028three".encode()])
def test_rare_white_space_is_white_space(tmp_path, raw):
    (tmp_path / "text.txt").write_bytes(raw)
    ids, vocab = ntp.load_corpus(tmp_path / "text.txt")
    assert vocab.decode(ids) == "one two three"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("one\ntwo".encode("utf-16-le"), "has a NUL in line 1, as UTF-16"),
        ("one two".encode("utf-16"), "is not UTF-8 (byte 0), and looks like UTF-16"),
        (b"one\ntwo \x1b[1m", "has the control character U+001B in line 2"),
        ("one \x92two".encode(), "has the control character U+0092 in line 1"),
        (b"caf\xe9", "is not UTF-8 (byte 3); save"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, raw, said):
    path = tmp_path / "text.txt"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        ntp.load_corpus(path)
    assert "save" in str(error.value)


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "text.txt").write_text("one two", "utf-8")
    ids, vocab = ntp.load_corpus("~/text.txt")
    assert vocab.decode(ids) == "one two"
    with pytest.raises(FileNotFoundError, match="~nobody_of_this_name"):
        ntp.load_corpus("~nobody_of_this_name/text.txt")


def test_links_that_lead_nowhere_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    os.symlink("gone.txt", "dangling")
    with pytest.raises(OSError, match="'loop' is a link that leads back to itself"):
        ntp.load_corpus("loop")
    with pytest.raises(FileNotFoundError, match=r"'dangling' is a link to 'gone\.txt'"):
        ntp.load_corpus("dangling")


def test_a_name_with_spaces_around_it():
    with pytest.raises(ValueError, match="' primer'; write 'primer'"):
        ntp.load_corpus(" primer")


def test_a_name_that_no_file_can_have():
    with pytest.raises(OSError, match="cannot be read"):
        ntp.load_corpus("x" * 5000)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint64, torch.tensor])
def test_sizes_of_every_kind(kind):
    ids, vocab = ntp.load_corpus("tales", max_vocab=kind(50), max_stories=kind(9))
    same_ids, same = ntp.load_corpus("tales", max_vocab=50, max_stories=9)
    assert vocab == same
    np.testing.assert_array_equal(ids, same_ids)


@pytest.mark.parametrize("size", [3.5, "9", True])
def test_sizes_of_no_kind(size):
    with pytest.raises(ValueError, match=r"max_vocab is .* whole number"):
        ntp.load_corpus("lily", max_vocab=size)


def test_a_relative_path_without_a_suffix_is_a_file_if_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mytext").write_text("hello hello", encoding="utf-8")
    ids, vocab = ntp.load_corpus("mytext")
    assert vocab.decode(ids) == "hello hello"


def test_the_public_data_set_is_used_when_it_is_there(monkeypatch):
    class Rows(list):
        def take(self, n):
            return self[:n]

    class Module:
        @staticmethod
        def load_dataset(name, split, streaming):
            assert (name, split, streaming) == ("roneneldan/TinyStories", "train", True)
            return Rows({"text": f"Story number {i}.\n\nThe end."} for i in range(10))

    monkeypatch.setitem(sys.modules, "datasets", Module)
    ids, vocab = ntp.load_corpus("tinystories", max_stories=4)
    assert vocab.decode(ids).count("<sep>") == 3
    assert vocab.decode(ids).startswith("story number 0 . the end . <sep> story")


@pytest.mark.parametrize("installed", [False, True])
def test_without_a_network_the_error_names_the_bundled_texts(monkeypatch, installed):
    class Offline:
        @staticmethod
        def load_dataset(*args, **kwargs):
            raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "datasets", Offline if installed else None)
    with pytest.raises(OSError, match=r"lily, primer, tales") as error:
        ntp.load_corpus("tinystories")
    assert ("no route" in str(error.value)) == installed
    assert ("ntp_lite[hub]" in str(error.value)) != installed
