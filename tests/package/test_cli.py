"""The command line: every command on a small text, bad input, Ctrl-C."""

from __future__ import annotations

import html.parser
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import ntp_lite as ntp
from ntp_lite.__main__ import EPILOG, main

SMALL = ["--context-length", "2", "--contexts", "40"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def small_labels() -> ntp.SoftLabels:
    ids, vocab = ntp.load_corpus("lily", max_vocab=300)
    labels = ntp.SoftLabels.from_tokens(ids, 2, len(vocab))
    return labels.select(np.sort(np.argsort(-labels.pi, kind="stable")[:40]))


def test_labels_prints_what_the_library_computes(capsys):
    assert main(["labels", "lily", *SMALL, "--out", "counts.npz"]) == 0
    printed, labels = capsys.readouterr().out, small_labels()
    assert re.search(rf"distinct contexts m +{labels.m}\n", printed)
    assert re.search(rf"positions n +{labels.n}\n", printed)
    assert f"{labels.entropy:.6f}" in printed
    np.testing.assert_array_equal(sparse.load_npz("counts.npz").toarray(), labels.N.toarray())


def test_fit_writes_a_checkpoint_that_resume_continues(capsys):
    options = ["fit", "lily", *SMALL, "--ridge", "1e-3", "--d", "30", "--out", "run.safetensors"]
    assert main([*options, "--steps", "5"]) == 1  # five steps are not certified, and it says so
    assert "did all 5 steps" in capsys.readouterr().out
    assert main([*options, "--steps", "3000", "--force"]) == 0
    assert "certified" in capsys.readouterr().out
    assert main([*options, "--resume"]) == 0
    assert os.listdir() == ["run.safetensors"]


def test_fit_trains_a_transformer(capsys):
    sizes = ["--model", "transformer", "--d", "16", "--layers", "1", "--ridge", "0"]
    options = ["--optimizer", "adamw", "--lr", "1e-2", "--steps", "150"]
    assert main(["fit", "lily", *SMALL, *sizes, *options]) == 0
    excess = re.search(r"excess loss (\S+) nats", capsys.readouterr().out)
    assert float(excess[1]) < 0.1


def test_decompose_writes_certified_parts(capsys):
    assert main(["decompose", "lily", *SMALL]) == 0
    labels = small_labels()
    with np.load("decomposition.npz") as parts:
        certificate = ntp.certify_margin(parts["L_mm"], parts["dual"], labels.S)
        assert certificate.relative_gap <= 1e-5
        assert certificate.violation < 1e-8
        np.testing.assert_allclose(parts["L_in"], ntp.in_support_logits(labels).toarray())
        np.testing.assert_array_equal(parts["contexts"], labels.contexts)
        assert len(parts["tokens"]) == labels.V
    assert str(certificate).split(", gap")[0] in capsys.readouterr().out


def test_report_is_one_self_contained_page():
    Path("my story.txt").write_text("a <b> & $c$ d . " * 3 + "a <b> ! $ $ <b> d . a c", "utf-8")
    assert main(["report", "my story.txt", "--context-length", "1", "--out", "page.html"]) == 0
    page = Path("page.html").read_text("utf-8")
    assert sorted(os.listdir()) == ["my story.txt", "page.html"]

    class Reader(html.parser.HTMLParser):
        seen: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attributes):
            self.seen.append(tag)
            for name, value in attributes:
                assert name not in ("src", "href") or value.startswith("data:image/png;base64,")

    Reader().feed(page)
    assert Reader.seen.count("img") == 4
    assert Reader.seen.count("table") == 3
    assert "script" not in Reader.seen
    assert "b" not in Reader.seen  # the text's own "<b>" was escaped
    assert "my story.txt" in page
    assert "max-margin" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labels", "nothing"], "Unknown corpus 'nothing'"),
        (["labels", "no/such.txt"], "No file at"),
        (["report", "empty.txt"], "is empty"),
        (["report", "latin.txt"], "is not UTF-8"),
        (["report", "lily", "--context-length", "0"], "context_length is 0"),
        (["report", "lily", "--contexts", "-1"], "--contexts is -1"),
        (["report", "lily", "--tol", "-1"], "tol is -1"),
        (["fit", "lily", "--ridge", "-1"], "ridge is -1"),
        (["fit", "lily", "--optimizer", "magic"], "optimizer is 'magic'"),
        (["fit", "lily", "--d", "0"], "1 or more"),
        (["fit", "lily", "--resume"], "No checkpoint"),
        (["decompose", "lily", "--out", "none/x.npz"], "There is no folder"),
        (["decompose", "lily", "--out", "empty.txt"], "exists; name another"),
        (["decompose", "lily", "--out", "."], "exists; name another"),
    ],
)
def test_bad_input_is_one_sentence_code_2_and_no_file(capfd, arguments, message):
    Path("empty.txt").write_text(" \n", "utf-8")
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == ["empty.txt", "latin.txt"]


@pytest.mark.parametrize("arguments", [["fit", "lily", "--steps", "many"], ["unknown"], []])
def test_unknown_arguments_are_one_sentence_and_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_divergence_has_code_1(capfd):
    options = ["--optimizer", "sgd", "--lr", "1e9", "--ridge", "1"]
    assert main(["fit", "lily", *SMALL, *options]) == 1
    assert "likely cause is a learning rate" in capfd.readouterr().err


def test_help_shows_examples_that_parse(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert "python -m ntp_lite report" in capsys.readouterr().out
    from ntp_lite.__main__ import _parse

    examples = re.findall(r"python -m ntp_lite (.+)", EPILOG)
    assert len(examples) >= 4
    for example in examples:
        _parse(example.split())


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-u", "-m", "ntp_lite", "fit", "primer", "--contexts", "60",
               "--optimizer", "adam", "--lr", "1e-3", "--steps", "10000000"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(ntp.__file__).parents[1])}
    # A script that runs in the background has SIGINT ignored, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    shown = ""
    while "excess_loss=" not in shown:  # the bar: training has begun
        shown += process.stderr.read(20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "run.safetensors").exists()
