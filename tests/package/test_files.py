"""Files that are written whole or not at all, and files of ids and tokens that are read."""

from __future__ import annotations

import io
import json
import os
import stat
import sys

import numpy as np
import pytest

from ntp_lite import _output
from ntp_lite._output import prepare, replace_file, say
from ntp_lite._token_files import read_ids, read_tokens


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------- writing


def test_a_file_is_replaced_whole(empty_folder):
    path = prepare("new")
    assert os.listdir() == []  # trying leaves nothing behind
    replace_file(path, lambda file: file.write(b"one"))
    replace_file(prepare("new", force=True), lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir() == ["new"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_what_goes_wrong_half_way_changes_nothing(empty_folder, error):
    path = empty_folder / "file"
    path.write_bytes(b"precious")

    def write(file):
        file.write(b"half of ")
        raise error

    with pytest.raises(type(error)):
        replace_file(path, write)
    assert path.read_bytes() == b"precious"
    assert os.listdir() == ["file"]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(empty_folder):
    before = os.umask(0o027)
    try:
        replace_file(prepare("file"), lambda file: file.write(b"one"))
        assert stat.S_IMODE(os.stat("file").st_mode) == 0o640
        os.chmod("file", 0o604)
        replace_file(prepare("file", force=True), lambda file: file.write(b"two"))
        assert stat.S_IMODE(os.stat("file").st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_link_stays_a_link(empty_folder):
    (empty_folder / "real").write_text("old")
    os.symlink("real", "link")
    replace_file(prepare("link", force=True), lambda file: file.write(b"new"))
    assert os.path.islink("link")
    assert (empty_folder / "real").read_text() == "new"


def test_a_tilde_is_the_home_folder(empty_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(empty_folder))
    assert prepare("~/x") == empty_folder / "x"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none/x", "There is no folder 'none'"),
        ("folder", "is a folder"),
        ("old", "exists; name another file, or replace it with --force"),
        ("/dev/null", "no ordinary file"),
    ],
)
def test_places_where_nothing_may_be_written(empty_folder, name, said):
    os.mkdir("folder")
    (empty_folder / "old").write_text("old")
    with pytest.raises(OSError, match=said):
        prepare(name)
    if name != "old":
        with pytest.raises(OSError, match=said):
            prepare(name, force=True)
    assert sorted(os.listdir()) == ["folder", "old"]


def test_what_is_read_is_never_written(empty_folder):
    (empty_folder / "text").write_text("the only copy")
    os.symlink("text", "link")
    with pytest.raises(FileExistsError, match="is what is read"):
        prepare("link", force=True, inputs=[empty_folder / "text"])


def test_a_folder_that_takes_no_file_is_noticed_before_the_work(monkeypatch):
    """A stand-in: the administrator may write everywhere."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"No file can be made in the folder .* \(Permission denied"):
        prepare("x")


# ---------------------------------------------------------------- the screen


def test_a_letter_that_the_screen_lacks_is_spelt_out(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    say("caf\xe9 \udce9")
    assert screen.buffer.getvalue() == b"caf\\xe9 \\udce9\n"


def test_streams_that_are_not_there(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody hears", "stderr")
    assert not _output.is_terminal("stderr")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    say("nobody hears", "stderr")
    assert not _output.is_terminal("stderr")


def test_a_pipe_whose_reader_has_gone(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        say("nobody hears")
        say("nobody hears")
        pipe.flush()  # what Python does at its end


def test_closed_numbers_are_occupied(monkeypatch):
    opened = []

    def fstat(number):
        if number == 1:
            raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        patch.setattr(os, "open", lambda *arguments: opened.append(arguments))
        _output.occupy_closed_streams()
    assert opened == [(os.devnull, os.O_RDWR)]


# ---------------------------------------------------------------- ids and tokens


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "int64"])
def test_ids_come_back_from_every_kind_of_file(dtype):
    ids = np.array([70_000 if dtype != "uint16" else 60_000, 0, 2, 2])
    np.save("ids.npy", ids.astype(dtype))
    ids.astype(np.dtype(dtype).newbyteorder("<")).tofile("ids.bin")
    np.savetxt("ids.txt", ids, fmt="%d")
    for found in (read_ids("ids.npy"), read_ids("ids.bin", dtype), read_ids("ids.txt")):
        np.testing.assert_array_equal(found, ids)


def test_files_that_hold_no_ids(empty_folder):
    (empty_folder / "ids.bin").write_bytes(b"abc")
    (empty_folder / "text.npy").write_bytes(b"abc")
    (empty_folder / "words.txt").write_text("1 2 three")
    (empty_folder / "large.txt").write_text("9" * 30)
    np.save("square.npy", np.eye(2, dtype=int))
    np.save("floats.npy", np.ones(2))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, dtype, said in (
        ("ids.bin", None, "give --ids-dtype, one of uint16"),
        ("ids.bin", "uint16", "has 3 bytes, no whole number of uint16"),
        ("text.npy", None, "no .npy file"),
        ("objects.npy", None, "no .npy file"),
        ("square.npy", None, "int64 of shape"),
        ("floats.npy", None, "holds float64"),
        ("words.txt", None, "neither .npy nor .bin"),
        ("large.txt", None, "neither .npy nor .bin"),
        ("words.txt", "uint16", "--ids-dtype is for .bin files"),
    ):
        with pytest.raises(ValueError, match=said):
            read_ids(name, dtype)


@pytest.mark.parametrize(
    ("name", "content", "tokens"),
    [
        ("lines.txt", "the\n cat\r\nsat ", ["the", " cat", "sat "]),
        ("lines.txt", "\ufeffthe\n", ["the"]),
        ("list.json", json.dumps(["a", "b", "a"]), ["a", "b", "a (id 2)"]),
        ("pairs.json", json.dumps([["a", -1.5], ["b", -2.0]]), ["a", "b"]),
        ("object.json", json.dumps({"b": 2, "a": 0}), ["a", "<id 1>", "b"]),
        (
            "tokenizer.json",
            json.dumps(
                {
                    "model": {"vocab": {"a": 0, "b": 1}},
                    "added_tokens": [{"id": 2, "content": "<end>"}],
                }
            ),
            ["a", "b", "<end>"],
        ),
    ],
)
def test_names_of_tokens(empty_folder, name, content, tokens):
    (empty_folder / name).write_bytes(content.encode())
    assert read_tokens(name) == tokens


@pytest.mark.parametrize(
    "content",
    [
        "{", "3", "[]", "[1]", '{"a": "b"}', '{"a": -1}', '{"a": 1.5}', '{"model": 3}',
        '{"a": 0, "b": 0}', '{"a": 99999999999}', "[" * 100_000,
    ],
)  # fmt: skip
def test_json_without_a_vocabulary(empty_folder, content):
    (empty_folder / "tokens.json").write_text(content)
    with pytest.raises(ValueError, match=r"'tokens.json' (holds no vocabulary|gives two)"):
        read_tokens("tokens.json")


def test_tokens_that_are_no_text(empty_folder):
    (empty_folder / "tokens.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_tokens("tokens.txt")
