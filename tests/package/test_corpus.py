from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
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


@given(st.text())
def test_tokenize_loses_nothing_but_white_space(text):
    tokens = ntp.tokenize(text)
    assert "".join(tokens) == "".join(text.lower().split())
    assert all(token and not any(c.isspace() for c in token) for token in tokens)


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
