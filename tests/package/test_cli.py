"""The command line: every command on a small text, bad input, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import ntp_lite as ntp
from ntp_lite import cli
from ntp_lite.cli import COMMANDS, EPILOG, EXIT_CODES, build_parser, main

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
    options = ["fit", "lily", *SMALL, "--d", "30", "--out", "run.safetensors"]
    once = [*options, "--ridge", "1e-3"]
    assert main([*once, "--steps", "5"]) == 1  # five steps are not certified, and it says so
    assert "did all 5 steps" in capsys.readouterr().out
    assert main([*once, "--steps", "3000"]) == 2  # the file is there
    assert main([*once, "--steps", "3000", "--force"]) == 0
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


def test_report_writes_what_the_library_makes(capsys):
    assert main(["report", "lily", *SMALL, "--out", "page.html"]) == 0
    ids, vocab = ntp.load_corpus("lily", max_vocab=300)
    labels = ntp.SoftLabels.from_tokens(ids, 2, len(vocab))
    made = ntp.report(labels, tokens=vocab, contexts=40, title="lily")
    assert Path("page.html").read_text("utf-8") == made.html
    assert str(made.certificates["max-margin"]) in capsys.readouterr().out


def test_labels_says_how_much_it_keeps(capsys):
    assert main(["labels", "primer"]) == 0
    ids, vocab = ntp.load_corpus("primer")
    labels = ntp.SoftLabels.from_tokens(ids, 3, len(vocab))
    positions = np.sort(labels.N.sum(axis=0))[::-1][:1000].sum()
    printed = capsys.readouterr().out
    assert f"1,000 of {labels.m:,}" in printed
    assert f"{positions:,} of {labels.n:,} ({positions / labels.n:.1%})" in printed
    assert main(["labels", "primer", "--contexts", "0"]) == 0
    assert f"{labels.m:,} of {labels.m:,} (100.0%)" in capsys.readouterr().out


def test_labels_says_what_happens_without_spaces(capsys):
    Path("cats.txt").write_text("私は猫が好きです。" * 3, "utf-8")
    assert main(["labels", "cats.txt"]) == 0
    assert "cut into characters; --ids takes words" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["npy", "bin", "txt"])
def test_ids_of_another_tokenizer(capsys, how):
    ids, vocab = ntp.load_corpus("lily")
    options = ["--ids", f"ids.{how}", "--context-length", "2"]
    if how == "npy":
        np.save("ids.npy", ids.astype(np.uint16))
    elif how == "bin":
        ids.astype("<u4").tofile("ids.bin")
        options += ["--ids-dtype", "uint32"]
    else:
        Path("ids.txt").write_text(" ".join(map(str, ids)))
    Path("tokens.json").write_text(json.dumps(vocab.index))
    assert main(["labels", "lily", "--context-length", "2"]) == 0
    expected = capsys.readouterr().out
    assert main(["labels", *options]) == 0
    assert capsys.readouterr().out == expected
    assert main(["labels", *options, "--tokens", "tokens.json"]) == 0
    assert capsys.readouterr().out == expected
    assert main(["report", *options, "--tokens", "tokens.json", "--contexts", "20"]) == 0
    page = Path("report.html").read_text("utf-8")
    assert any(f"<td>{word}, " in page for word in vocab.tokens)


def test_out_is_named_as_it_is_said(capsys):
    """Nothing is added to the name behind the guard that looks at it."""
    Path("counts.npz").write_text("precious")
    assert main(["labels", "lily", "--out", "counts"]) == 0
    assert Path("counts.npz").read_text() == "precious"
    assert sparse.load_npz("counts").shape[0] > 20
    os.mkdir("folder")
    assert main(["labels", "lily", "--out", "folder", "--force"]) == 2
    assert sorted(os.listdir()) == ["counts", "counts.npz", "folder"]


def test_a_name_that_is_not_utf_8():
    name = os.fsdecode(b"caf\xe9.txt")
    Path(name).write_text("the cat sat on the mat . the cat ran .", "utf-8")
    for _ in range(2):
        options = ["--context-length", "1", "--force", "--out", name + ".html"]
        assert main(["report", name, *options]) in (0, 1)
        assert "caf\ufffd.txt" in Path(name + ".html").read_text("utf-8")


def test_resume_extends_a_run_and_refuses_what_it_would_ignore(capsys):
    options = ["fit", "lily", *SMALL, "--d", "12", "--out", "run.safetensors"]
    assert main([*options, "--steps", "3", "--optimizer", "adam", "--seed", "4"]) == 1
    before = Path("run.safetensors").read_bytes()
    for more in (["--lr", "7"], ["--ridge", "0.1"], ["--tol", "1"], ["--batch-size", "5"]):
        assert main([*options, "--resume", *more]) == 2
        assert f"{more[0]} would have no effect" in capsys.readouterr().err
    assert Path("run.safetensors").read_bytes() == before
    assert main([*options, "--resume", "--steps", "6"]) == 1
    assert "did all 6 steps" in capsys.readouterr().out


def test_fit_takes_batches():
    options = ["--optimizer", "adam", "--batch-size", "10", "--steps", "4", "--ridge", "0"]
    assert main(["fit", "lily", *SMALL, *options]) == 0
    assert ntp.load("run.safetensors").config.batch_size == 10


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
        (["labels"], "Give one of the two"),
        (["labels", "lily", "--ids", "ids.npy"], "Give one of the two"),
        (["labels", "lily", "--tokens", "t.json"], "belong to --ids"),
        (["labels", "--ids", "ids.npy"], "No file at 'ids.npy'"),
        (["labels", "--ids", "empty.txt", "--ids-dtype", "uint16"], "--ids-dtype is for .bin"),
        (["labels", "--ids", "latin.txt"], "neither .npy nor .bin"),
        (["report", "latin.txt", "--out", "latin.txt", "--force"], "is what is read"),
        (["fit", "lily", "--d", "0"], "1 or more"),
        (["fit", "lily", "--resume"], "No checkpoint"),
        (["decompose", "lily", "--out", "none/x.npz"], "There is no folder"),
        (["decompose", "lily", "--out", "empty.txt"], "exists; name another"),
        (["decompose", "lily", "--out", "."], "is a folder"),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "lily", "--steps", "many"],
        ["fit", "lily", "--optimizer", "magic"],
        ["fit", "lily", "--step", "3"],
        ["unknown"],
        [],
    ],
)
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
    assert "ntp-lite report" in capsys.readouterr().out
    examples = re.findall(r"ntp-lite (\w+ .+)", EPILOG)
    assert len(examples) >= 6
    for example in examples:
        build_parser().parse_args(example.split())


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"ntp_lite {version('ntp_lite')}\n"


def test_every_status_has_a_code_that_the_help_explains():
    assert set(EXIT_CODES) == set(ntp.Status)
    explained = EPILOG[EPILOG.index("Exit codes") :]
    for code in {*EXIT_CODES.values(), cli.BAD_INPUT, cli.UNEXPECTED}:
        assert re.search(rf"\n  {code} +\w", explained)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 3, "error: too little memory; use fewer --contexts"),
        (np.linalg.LinAlgError("no"), 3, "error: unexpected LinAlgError; please report it"),
        (RuntimeError("no"), 3, "error: unexpected RuntimeError; please report it"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (FloatingPointError("loss is nan."), 1, "error: loss is nan."),
        (OSError("full disk"), 2, "error: full disk"),
    ],
)
def test_every_kind_of_error_has_its_own_code(monkeypatch, capsys, error, code, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli, "load_corpus", fail)
    assert main(["labels", "lily"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(said)
    assert (len(lines) > 1) == ("unexpected" in said)  # only what nobody expected has a traceback


def run(*arguments, **options):
    """The program in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(ntp.__file__).parents[1])}
    command = [sys.executable, "-m", "ntp_lite", *arguments]
    return subprocess.run(command, env=environment, text=True, check=False, **options)


def test_a_full_disk_keeps_the_old_file(tmp_path):
    """A limit on the size of files stands in for the disk."""
    import resource

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    Path("parts.npz").write_text("precious")
    options = [*SMALL, "--out", "parts.npz", "--force"]
    result = run("decompose", "lily", *options, preexec_fn=small_files, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert Path("parts.npz").read_text() == "precious"
    assert os.listdir() == ["parts.npz"]


@pytest.mark.parametrize("ending", ["2>&-", ">&-", ">&- 2>&- <&-", "2>&1 | head -c 0", "| head -1"])
def test_streams_that_are_closed_end_nothing(ending):
    """Neither the work nor the file; and nothing is printed about it."""
    script = f'"{sys.executable}" -m ntp_lite decompose lily {" ".join(SMALL)} {ending}'
    environment = os.environ | {"PYTHONPATH": str(Path(ntp.__file__).parents[1])}
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == ""
    with np.load("decomposition.npz") as parts:
        assert parts["L_mm"].shape[1] == 40


def in_a_terminal_until(shown, command):
    """Start the program with a terminal for standard error; wait until it shows a text."""
    environment = os.environ | {"PYTHONPATH": str(Path(ntp.__file__).parents[1])}
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 150))  # of a width in which a bar has room
    # A script that runs in the background has SIGINT ignored, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "ntp_lite", *command], env=environment, stderr=terminal
    )
    signal.signal(signal.SIGINT, before)
    os.close(terminal)
    seen = ""
    while shown not in seen:
        if not select.select([reader], [], [], 120)[0]:
            process.kill()
            pytest.fail(f"in two minutes the program showed only {seen!r}")
        seen += os.read(reader, 200).decode(errors="replace")
    return process, reader


def after_ctrl_c(process, reader):
    process.send_signal(signal.SIGINT)
    try:
        while os.read(reader, 1000):  # or the program would wait for its terminal
            pass
    except OSError:  # Linux says so when the other end is closed
        pass
    process.wait(timeout=120)
    os.close(reader)
    return process.returncode


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    options = ["--optimizer", "adam", "--lr", "1e-3", "--steps", "10000000"]
    command = ["fit", "primer", "--contexts", "60", *options]
    assert after_ctrl_c(*in_a_terminal_until("excess_loss=", command)) == 130
    assert ntp.load(tmp_path / "run.safetensors").status is ntp.Status.INTERRUPTED


@pytest.mark.slow
def test_ctrl_c_in_a_report_keeps_what_there_is(tmp_path):
    command = ["report", "primer", "--contexts", "300", "--tol", "1e-4"]
    assert after_ctrl_c(*in_a_terminal_until("ridge ", command)) == 130
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<td>max-margin</td>" in page
    assert "The work was interrupted" in page
    assert 1 <= page.count("<td>ridge ") < 5


def test_the_module_is_the_program():
    result = run("--version", stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout) == (0, f"ntp_lite {version('ntp_lite')}\n")


def test_commands_are_registered_once():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert command.run.__name__ == f"{command.name}_command"


PAGE = (Path(__file__).parents[2] / "book" / "cli.md").read_text("utf-8")


def table(heading):
    """The rows of the table under a heading of the page."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def as_on_the_page(each):
    """An option as the page shows it."""
    is_bare = each.default is None or each.default is False
    choices = each.metadata["choices"] or ()
    names = ", ".join(f"`{choice}`" for choice in choices)
    flag = each.name.replace("_", "-")
    return [
        f"`--{flag}`",
        "" if is_bare else f"`{each.default}`",
        each.metadata["help"] + (f": {names}" if names else ""),
    ]


def test_the_page_about_the_command_line_is_the_program():
    common = [each.name for each in dataclasses.fields(cli.TextOptions) if each.name != "out"]
    listed = [each for each in dataclasses.fields(cli.TextOptions) if each.name in common]
    assert table("Options of every command") == [as_on_the_page(e) for e in listed if e.metadata]
    for command in COMMANDS:
        own = [e for e in dataclasses.fields(command.options) if e.name not in common]
        assert table(command.name) == [as_on_the_page(each) for each in own]
    codes = {int(row[0].strip("`")): row[1].replace("`", "") for row in table("Exit codes")}
    explained = re.findall(r"^  (\d+) +(.+)$", EPILOG, re.MULTILINE)
    assert codes == {int(code): text for code, text in explained}


def test_commands_on_the_pages_parse():
    lines = (
        PAGE.splitlines()
        + (Path(cli.__file__).parents[1] / "book" / "install.md").read_text("utf-8").splitlines()
    )
    commands = [line.split()[1:] for line in lines if line.startswith("ntp-lite ")]
    commands = [words for words in commands if "COMMAND" not in words and "--version" not in words]
    assert len(commands) >= 2
    for words in commands:
        build_parser().parse_args(words)
