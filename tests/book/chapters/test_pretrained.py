"""The chapter on a pretrained model: its statement, its stored measurements, and its weights.

What needs the weights is skipped, with a sentence, where `make pretrained` has not fetched them.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from chapters import ROOT
from scipy.special import log_softmax

import ntp_lite as ntp

PAGE = (ROOT / "book" / "pretrained.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "_pretrained" / "smollm2-135m-instruct"
RUNS = ROOT / "ntp_lite" / "data" / "measured" / "pretrained"
STORED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RUNS.glob("*.json"))}
CELL = re.compile(r"(?ms)^```\{code-cell\} ipython3\n(.*?)^```")

needs_weights = pytest.mark.skipif(
    not WEIGHTS.exists() or not find_spec("transformers"),
    reason="The pretrained model is not here; `make pretrained` fetches it.",
)


def cells() -> list[str]:
    """The code of the page's cells, without their headers."""
    sources = []
    for source in CELL.findall(PAGE):
        source = re.sub(r"\A---\n.*?\n---\n", "", source, flags=re.DOTALL)
        sources.append(re.sub(r"(?m)\A:.*\n", "", source))
    return sources


def run_cells(until: str, *, with_weights: bool) -> dict:
    """The page's names after the first cell that holds this text."""
    names: dict = {}
    for source in cells():
        if not with_weights:
            source = source.replace('find_spec("transformers")', "None")
        exec(source, names)  # the book's own cells
        if until in source:
            return names
    raise AssertionError(f"no cell of the page holds {until!r}")


# ---------------------------------------------------------------- the statement


@pytest.mark.parametrize("mutation", ["none", "added bias", "capped"])
def test_logits_have_the_rank_of_the_width(mutation):
    """Theorem label: prop-pretrained-rank

    Mutations: a bias for each word adds one; a cap, as some models have, breaks the bound.
    """
    rng = np.random.default_rng(2)
    d = 4
    L = rng.normal(size=(30, d)) @ rng.normal(size=(d, 20))
    if mutation == "added bias":
        L = L + rng.normal(size=(30, 1))
    if mutation == "capped":
        L = 2 * np.tanh(L / 2)
    rank = np.linalg.matrix_rank
    of_logits = rank(L) <= d
    of_centred = rank(L - L.mean(axis=0)) <= d
    of_log_probabilities = rank(log_softmax(L, axis=0)) <= d + 1
    assert of_logits == of_centred == (mutation == "none")
    assert of_log_probabilities == (mutation == "none")


# ---------------------------------------------------------------- without weights


def test_without_weights_the_page_shows_what_is_stored(capsys):
    names = run_cells("live.Frames(", with_weights=False)
    assert names["lm"] is None
    assert names["through"] == STORED["primer_4_plain"]["layers"]
    assert "stored measurements" in capsys.readouterr().out


def test_the_adapter_is_a_model_that_fit_takes():
    """A made-up language model in the form of the transformers library; mutation: rows of W."""

    class Base(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(9, 6)

        def forward(self, ids):
            mixed = self.table(ids).cumsum(dim=1)
            return type("Output", (), {"last_hidden_state": mixed})()

    class Language(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.base_model = Base()
            self.head = torch.nn.Linear(6, 9, bias=False)

        def get_output_embeddings(self):
            return self.head

    names = run_cells("class Pretrained", with_weights=False)
    tokens = np.array([1, 3, 4, 7, 8])
    labels = ntp.SoftLabels.from_tokens(np.random.default_rng(0).integers(0, 5, 60), 2, 5)
    lm = Language()
    model = names["Pretrained"](lm, tokens)
    H = model.embeddings(labels.contexts)
    assert H.shape == (6, labels.m)
    ids = torch.tensor(tokens[labels.contexts])
    expected = lm.head(lm.base_model(ids).last_hidden_state[:, -1])[:, tokens].T
    assert torch.allclose(model.W @ H, expected, atol=1e-6)
    assert not torch.allclose(lm.head.weight[:5] @ H, expected, atol=1e-2)
    config = ntp.TrainConfig(ridge=0, optimizer="adamw", steps=20, lr=1e-2, tol=None, device="cpu")
    history = ntp.fit(model, labels, config).history["excess_loss"]
    assert history[-1] < history[0]


def test_all_runs_were_on_the_same_soft_labels():
    runs = [part for part in STORED.values() if "history" in part and "labels" in part]
    assert len(runs) >= 8
    assert len({run["labels"] for run in runs}) == 1
    assert all(run["machine"]["cpu"] for run in runs)
    assert {run["seed"] for run in runs} == {0, 1}


def test_the_table_is_made_of_the_stored_runs():
    table = json.loads((ROOT / "benchmarks/results/pretrained.json").read_text("utf-8"))
    rows = {row["model"]: row for row in table["rows"]}
    for name, run in (
        ("pretrained, trained further, seed 0", "pretrained_batches_seed0"),
        ("decoder from scratch, seed 1", "decoder_seed1"),
    ):
        assert rows[name]["excess loss"] == STORED[run]["history"]["excess_loss"][-1]
        assert rows[name]["cosine to L_mm"] == STORED[run]["history"]["cosine_mm"][-1]


def test_every_measurement_has_its_baseline_and_its_spread():
    for text, lengths in {"primer": (3, 4, 5), "tales": (2, 3, 4)}.items():
        for length in lengths:
            part = STORED[f"{text}_{length}_plain"]
            for kind, found in part["kinds"].items():
                low, high = found["interval"]
                assert low <= found["mean"] <= high or kind.startswith("same support, same")
            test = part["dealt within last token"]["equal supports, other last"]
            assert 0 < test["p_value"] <= 1
            assert part["dealt within last token"]["movable"] > 100


def test_a_model_without_the_package_that_loads_it_is_one_sentence():
    names: dict = {}
    with pytest.raises(ModuleNotFoundError, match=r"somebody/small.*pip install transformers"):
        for source in cells():
            source = source.replace('find_spec("transformers")', "None")
            exec(re.sub("(?m)^MODEL = None", "MODEL = 'somebody/small'", source), names)


# ---------------------------------------------------------------- with weights


@needs_weights
def test_with_weights_the_stored_measurements_are_found_again():
    """Live numbers of the page against the stored ones; the page's own asserts run, too."""
    names = run_cells("def dealt_within_last", with_weights=True)
    assert names["lm"] is not None
    for live, stored in zip(names["through"], STORED["primer_4_plain"]["layers"], strict=True):
        for kind, value in stored.items():
            assert abs(live[kind] - value) < 2e-3
    seen = STORED["primer_4_plain"]["dealt within last token"]["equal supports, other last"]
    assert abs(names["observed"] - seen["observed"]) < 2e-3


@needs_weights
def test_the_folder_says_what_it_holds():
    about = json.loads((WEIGHTS / "source.json").read_text("utf-8"))
    script = (ROOT / "benchmarks" / "pretrained_weights.py").read_text("utf-8")
    assert about["sha256 of the quantised weights"] in script
    assert "Apache-2.0" in about["licence"]
