"""A pretrained language model against the theory: before training, and in further training.

    python benchmarks/pretrained.py               measure and train what is not stored yet
    python benchmarks/pretrained.py NAME ...      only these parts (names in PARTS, "training")

`make pretrained` fetches the weights first. Each part is stored when it ends, as a file in
ntp_lite/data/measured/pretrained, where the book finds it however the package is installed. A
training run goes on from its checkpoint, so a stopped script goes on where it was. Everything that
the book shows is then collected in results/pretrained.json, with the table in
results/pretrained.md. Delete a stored file to measure it again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pretrained_measures as measure
import pretrained_training as training
import torch
from harness import fail_unless, machine, report
from numpy.typing import NDArray
from pretrained_model import FOLDER, Pretrained, contexts_of, frequent, load, read

import ntp_lite as ntp

STORED = Path(ntp.__file__).parent / "data" / "measured" / "pretrained"
CACHE = FOLDER.parent / "cache"  # git ignores it
LENGTHS = {"primer": (3, 4, 5), "tales": (2, 3, 4)}
MAIN = {"primer": 4, "tales": 3}
LEAST = {"primer": 5, "tales": 6}
STARTS = {"plain": None, "start": 1}  # 1 is the tokenizer's own start token, <|im_start|>
SHOWN = 12  # contexts in the map of cosines
EVERY_THIRD = range(3, 31, 3)  # of the 30 layers
LATE = 27  # the layer after which next words count most
FUTURES, HISTORIES = 10, 120
READ_WITH_HISTORY, BLOCK = 5000, 192  # tokens of the text, in blocks


class Reader:
    """Tokenizer, model, and the soft labels of a text in the model's own tokens."""

    def __init__(self) -> None:
        self.tokenizer, self.lm = load()
        self.text = {name: read(self.tokenizer, name) for name in LENGTHS}
        self._random: Any = None

    @property
    def random_lm(self) -> Any:
        """The same architecture as it is born, before any training."""
        if self._random is None:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self._random = type(self.lm)(self.lm.config).eval()
        return self._random

    def labels(self, text: str, length: int) -> ntp.SoftLabels:
        """Contexts that occur often enough."""
        tokens, numbers = self.text[text]
        return frequent(numbers, len(tokens), length, LEAST[text])

    def model(self, text: str, start: int | None = None, lm: Any = None) -> Pretrained:
        """The adapter for the words of a text."""
        return Pretrained(lm or self.lm, self.text[text][0], start)

    def spell(self, text: str, numbers: Any) -> str:
        """Tokens as they are written."""
        return self.tokenizer.decode(self.text[text][0][np.asarray(numbers)].tolist()).strip()


@torch.no_grad()
def layers_of(
    model: Pretrained, contexts: NDArray[np.int64], name: str = ""
) -> NDArray[np.float32]:
    """The last position after every layer, (layers + 1, d, m); kept on disk under a name."""
    path = CACHE / f"{name}.npy"
    if name and path.exists():
        return np.load(path)
    parts = []
    for part in np.array_split(contexts, max(1, len(contexts) // 60)):
        states = model.states(part)
        parts.append(torch.stack([state[:, -1].T for state in states]).numpy())
    found = np.concatenate(parts, axis=2)
    if name:
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return found


def check_logits(reader: Reader) -> float:
    """W H must be the model's own logits: the largest difference."""
    labels = reader.labels("primer", 4)
    model = reader.model("primer")
    contexts = contexts_of(labels)[:20]
    with torch.no_grad():
        own = reader.lm(model.tokens[torch.tensor(contexts)]).logits[:, -1][:, model.tokens].T
        difference = float((model.W @ model.embeddings(contexts) - own).abs().max())
    fail_unless(difference < 1e-3, "W H are not the model's logits")
    return difference


# ---------------------------------------------------------------- parts


def one_condition(
    reader: Reader, text: str, length: int, start: str = "plain", is_random: bool = False
) -> dict[str, Any]:
    """Everything about one text, context length and start, at the last layer and per layer."""
    labels = reader.labels(text, length)
    lm = reader.random_lm if is_random else reader.lm
    model = reader.model(text, STARTS[start], lm)
    name = f"{text}_{length}_{'born' if is_random else start}"
    states = layers_of(model, contexts_of(labels), name).astype(float)
    H = states[-1]
    W = model.W.detach().double().numpy()
    L = W @ H
    found = {
        "labels": repr(labels),
        "V": labels.V,
        "m": labels.m,
        "floor": labels.entropy,
        "excess loss among the words seen": float(ntp.excess_loss(L, labels)),
        "excess loss of L = 0": float(ntp.excess_loss(0 * L, labels)),
        "kinds": measure.by_kind(H, labels),
        "layers": [measure.mean_by_kind(state, labels) for state in states],
        "dealt within last token": measure.shuffled(H, labels, within_last=True),
        "dealt among all": measure.shuffled(H, labels, within_last=False),
        "effective rank of H": ntp.effective_rank(measure.centred(H)),
        "effective rank of L": ntp.effective_rank(measure.centred(L)),
    }
    if length == MAIN[text]:
        # Before the first layer the last token is all; every third layer will do.
        tests = {i: measure.shuffled(states[i], labels, True, shuffles=29) for i in EVERY_THIRD}
        found["overlap by layer"] = {
            str(i): {name: test[name] for name in test if name.startswith("overlap")}
            for i, test in tests.items()
        }
    if start == "plain" and not is_random:
        found["mean cosine before centring"] = measure.not_centred(H, labels)
        found["centred otherwise"] = {
            name: measure.mean_by_kind(X, labels)
            for name, X in measure.otherwise_centred(H).items()
        }
        found["nothing shared"] = measure.nothing_shared(H, labels)
    return found


def conditions() -> dict[str, Callable[[Reader], dict[str, Any]]]:
    """All texts, context lengths and starts, and the model as it is born; the main ones first."""
    chosen: dict[str, dict[str, Any]] = {}
    for text, main in MAIN.items():
        chosen[f"{text}_{main}_plain"] = {"text": text, "length": main}
    for text, main in MAIN.items():
        chosen[f"{text}_{main}_born"] = {"text": text, "length": main, "is_random": True}
    for text, lengths in LENGTHS.items():
        for length in lengths:
            chosen[f"{text}_{length}_plain"] = {"text": text, "length": length}
    for text, main in MAIN.items():
        chosen[f"{text}_{main}_start"] = {"text": text, "length": main, "start": "start"}
    return {name: partial(one_condition, **options) for name, options in chosen.items()}


def explanations(reader: Reader) -> dict[str, Any]:
    """What shared next words add beside all else that could make contexts alike, on both texts."""
    found: dict[str, Any] = {}
    for text, length in MAIN.items():
        labels = reader.labels(text, length)
        for weights, lm in (("plain", reader.lm), ("born", reader.random_lm)):
            model = reader.model(text, lm=lm)
            vectors = lm.get_input_embeddings().weight.detach()[model.tokens].double().numpy()
            others = measure.explanations(labels, reader.text[text][1], vectors)
            states = layers_of(model, contexts_of(labels), f"{text}_{length}_{weights}")
            for layer in (LATE, 30) if weights == "plain" else (30,):
                draws = 40 if text == "primer" else 20
                name = f"{text}, {weights}, layer {layer}"
                print(name, flush=True)
                found[name] = measure.explained(states[layer].astype(float), labels, others, draws)
    labels = reader.labels("tales", MAIN["tales"])
    names = reader.tokenizer.convert_ids_to_tokens(reader.text["tales"][0].tolist())
    whole = np.array([name[0] == "Ġ" or not name[0].isalpha() for name in names])
    only_whole = whole[contexts_of(labels)].all(axis=1)
    kept = labels.select(only_whole)
    of_all = layers_of(reader.model("tales"), contexts_of(labels), "tales_3_plain")
    H = of_all[-1][:, only_whole].astype(float)
    found["tales, whole words alone"] = {
        "m": kept.m,
        "kinds": measure.by_kind(H, kept),
        "dealt within last token": measure.shuffled(H, kept, within_last=True),
    }
    return found


def history(reader: Reader) -> dict[str, Any]:
    """Contexts where they stand, with the text before them: the mean over their occurrences.

    The model reads blocks of the text; a context counts where at least `before` tokens precede it.
    Where in the text two contexts stand may make them alike, so the distance of their mean places
    is one of the explanations.
    """
    numbers = reader.text["primer"][1]
    before = BLOCK // 3
    labels = reader.labels("primer", MAIN["primer"])
    found: dict[str, Any] = {"tokens before a context": [before, BLOCK - 1]}
    for weights, lm in (("plain", reader.lm), ("born", reader.random_lm)):
        model = reader.model("primer", lm=lm)
        sums, places, times = read_on(model, numbers, labels, before)
        seen = times > 0
        kept = labels.select(seen)
        H = (sums[seen] / times[seen, None]).T
        vectors = lm.get_input_embeddings().weight.detach()[model.tokens].double().numpy()
        others = measure.explanations(kept, numbers, vectors)
        several = np.flatnonzero(kept.support_sizes >= 2)
        where = (places[seen] / times[seen])[several]
        apart = np.abs(np.subtract.outer(where, where))[np.triu_indices(len(several), 1)]
        others |= {"distance in the text": apart, "log distance": np.log1p(apart)}
        found[weights] = {
            "m": kept.m,
            "kinds": measure.by_kind(H, kept),
            "dealt within last token": measure.shuffled(H, kept, within_last=True),
            "explained": measure.explained(H, kept, others),
        }
    return found


@torch.no_grad()
def read_on(
    model: Pretrained, numbers: NDArray[np.int64], labels: ntp.SoftLabels, before: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """For each context: sum of its vectors, sum of its places, and how often it was read."""
    length = MAIN["primer"]
    column = {tuple(context): j for j, context in enumerate(contexts_of(labels).tolist())}
    sums = np.zeros((labels.m, model.W.shape[1]))
    places, times = np.zeros(labels.m), np.zeros(labels.m)
    for first in range(0, READ_WITH_HISTORY, BLOCK - before):
        ids = model.tokens[torch.tensor(numbers[first : first + BLOCK])][None]
        states = model.lm.base_model(ids).last_hidden_state[0].double().numpy()
        for place in range(before, ids.shape[1]):
            at = first + place
            j = column.get(tuple(numbers[at - length + 1 : at + 1].tolist()))
            if j is not None:
                sums[j] += states[place]
                places[j] += at
                times[j] += 1
    return sums, places, times


def spectrum(reader: Reader) -> dict[str, Any]:
    """Singular values of the logits of `tales`, of more words and contexts than dimensions."""
    labels = reader.labels("tales", MAIN["tales"])
    model = reader.model("tales")
    H = layers_of(model, contexts_of(labels), "tales_3_plain")[-1]
    L = (model.W.detach().numpy() @ H).astype(float)
    centred = L - L.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    support = np.linalg.svd(ntp.centered_support(labels), compute_uv=False)
    return {
        "V": labels.V,
        "m": labels.m,
        "d": int(model.W.shape[1]),
        "singular values of L": measure.first_of(values),
        "singular values of the centred supports": measure.first_of(support),
        "effective rank of L": ntp.effective_rank(centred),
        "effective rank of the centred supports": ntp.effective_rank(ntp.centered_support(labels)),
        "rank for 90%": measure.rank_for(values, 0.9),
        "rank for 99%": measure.rank_for(values, 0.99),
    }


def supports(reader: Reader) -> dict[str, Any]:
    """Effective supports on `primer`: of all words of the model, and of the words seen."""
    labels = reader.labels("primer", MAIN["primer"])
    model = reader.model("primer")
    H = layers_of(model, contexts_of(labels), "primer_4_plain")[-1]
    with torch.no_grad():
        everything = reader.lm.get_output_embeddings().weight.numpy() @ H
    exponents = np.exp(everything - everything.max(axis=0))
    all_words = exponents / exponents.sum(axis=0)
    sizes = []
    ordered = np.cumsum(-np.sort(-all_words, axis=0), axis=0)
    several = labels.support_sizes >= 2
    for eps in measure.EPSILONS:
        size = (ordered < 1 - eps).sum(axis=0) + 1
        sizes.append(float(size[several].mean()))
    tokens = model.tokens.numpy()
    seen = all_words[tokens]
    cross = -(labels.P.toarray() * labels.pi * np.log(seen + 1e-300)).sum()
    return {
        "mean support": float(labels.support_sizes[several].mean()),
        "cross-entropy over all words": float(cross),
        "floor": labels.entropy,
        "probability of the words seen": float((seen.sum(axis=0) * labels.pi).sum()),
        "probability of the support": float(
            ((seen * labels.S.toarray()).sum(axis=0) * labels.pi).sum()
        ),
        "mean size over all words": dict(zip(map(str, measure.EPSILONS), sizes, strict=True)),
        "words seen": measure.effective_supports((tokens_logits := everything[tokens]), labels),
        "scaled": [
            [scale, float(ntp.excess_loss(scale * tokens_logits, labels))]
            for scale in np.linspace(0.1, 1.2, 23).round(2).tolist()
        ],
    }


LONG = 5.0  # a vector is long at this many times the median length


def lengths_by_layer(reader: Reader) -> dict[str, Any]:
    """Why cosines change between layers: a few long vectors can rule the spread of all."""
    labels = reader.labels("primer", MAIN["primer"])
    contexts = contexts_of(labels)
    rows = []
    for H in layers_of(reader.model("primer"), contexts, "primer_4_plain").astype(float):
        squares = np.linalg.svd(measure.centred(H), compute_uv=False) ** 2
        length = np.linalg.norm(H, axis=0) / np.median(np.linalg.norm(H, axis=0))
        last_words = {reader.spell("primer", [word]) for word in contexts[length > LONG, -1]}
        rows.append(
            {
                "share of the leading direction": float(squares[0] / squares.sum()),
                "longest over median": float(length.max()),
                "long contexts": int((length > LONG).sum()),
                "their last words": sorted(last_words),
            }
        )
    return {"long means over the median times": LONG, "layers": rows}


def shown_contexts(reader: Reader) -> dict[str, Any]:
    """The map of cosines layer by layer, and neighbours of contexts in their own words."""
    labels = reader.labels("primer", MAIN["primer"])
    model = reader.model("primer")
    states = layers_of(model, contexts_of(labels), "primer_4_plain").astype(float)
    names = [reader.spell("primer", context) for context in contexts_of(labels)]
    next_words = [
        [reader.spell("primer", [z]) for z in np.flatnonzero(column)]
        for column in labels.S.toarray().T
    ]
    places = chosen_contexts(labels)
    cosines = [ntp.cosine_similarity(measure.centred(state)[:, places]) for state in states]
    own = ntp.cosine_similarity(measure.centred(states[-1]))
    last = contexts_of(labels)[:, -1]
    neighbours = []
    for j in np.flatnonzero(labels.support_sizes >= 2):
        others = np.flatnonzero((last != last[j]) & (labels.support_sizes >= 2))
        nearest = others[np.argsort(-own[j, others])][:4]
        neighbours.append(
            {
                "context": names[j],
                "next": next_words[j],
                "neighbours": [[names[i], round(float(own[j, i]), 3)] for i in nearest],
                "same support": [bool(labels.support_classes[i] == labels.support_classes[j])
                                 for i in nearest],
                "alone": bool((labels.support_classes == labels.support_classes[j]).sum() == 1),
            }
        )  # fmt: skip
    return {
        "contexts": [names[j] for j in places],
        "next": [next_words[j] for j in places],
        "cosines": np.round(cosines, 3).tolist(),
        "neighbours": neighbours,
    }


def chosen_contexts(labels: ntp.SoftLabels) -> NDArray[np.intp]:
    """Contexts for the map: the classes with most different last tokens, then their likes.

    A rule, not a choice by eye: of the three support classes (k >= 2) with most different last
    tokens, one context for each of up to four last tokens, the most frequent of each.
    """
    several = labels.support_sizes >= 2
    classes, last = labels.support_classes, contexts_of(labels)[:, -1]
    variety = {c: len(np.unique(last[several & (classes == c)])) for c in np.unique(classes)}
    best = sorted(variety, key=lambda c: (-variety[c], -labels.pi[classes == c].sum()))[:3]
    places: list[int] = []
    for c in best:
        members = np.flatnonzero(several & (classes == c))
        members = members[np.argsort(-labels.pi[members], kind="stable")]
        _, first = np.unique(last[members], return_index=True)
        places += members[np.sort(first)][:4].tolist()
    return np.array(places[:SHOWN])


# ---------------------------------------------------------------- longer futures


def futures(reader: Reader) -> dict[str, Any]:
    """Low logit rank: logits after history and future, one row per history."""
    labels = reader.labels("primer", MAIN["primer"])
    numbers = reader.text["primer"][1]
    pairs, counts = np.unique(
        np.stack([numbers[:-1], numbers[1:]], axis=1), axis=0, return_counts=True
    )
    chosen = pairs[np.argsort(-counts, kind="stable")[:FUTURES]]
    order = np.argsort(-labels.pi, kind="stable")[:HISTORIES]
    contexts = contexts_of(labels)[np.sort(order)]
    found: dict[str, Any] = {
        "histories": len(contexts),
        "futures": [reader.spell("primer", pair) for pair in chosen],
    }
    for name, lm in (("pretrained", reader.lm), ("born", reader.random_lm)):
        model = reader.model("primer", lm=lm)
        W = model.W.detach().numpy()
        with torch.no_grad():
            now = W @ model.embeddings(contexts).numpy()
            later = [W @ after(model, contexts, future) for future in chosen]
        found[name] = ranks_of(now, later)
    found["decoder"] = futures_of_decoder(chosen)
    return found


def after(model: Pretrained, contexts: NDArray[Any], future: NDArray[Any]) -> NDArray[Any]:
    """Context vectors (d, m) after each context followed by the same future."""
    longer = np.concatenate([contexts, np.tile(future, (len(contexts), 1))], axis=1)
    return model.embeddings(longer).numpy()


def ranks_of(now: NDArray[Any], later: list[NDArray[Any]], seed: int = 0) -> dict[str, Any]:
    """Ranks that hold 90 and 99% of the squares, of one step and of all futures together.

    Log-probabilities, centred over words and then over histories. Baseline: the histories of each
    future are dealt out anew, so that each block keeps its own rank and shares nothing.
    """

    def prepared(L: NDArray[Any]) -> NDArray[np.float64]:
        logits = L.astype(float) - L.mean(axis=0)
        return logits - logits.mean(axis=1, keepdims=True)

    rng = np.random.default_rng(seed)
    blocks = [prepared(L) for L in later]
    dealt = [block[:, rng.permutation(block.shape[1])] for block in blocks]
    values = {
        "one step": np.linalg.svd(prepared(now), compute_uv=False),
        "futures": np.linalg.svd(np.concatenate(blocks), compute_uv=False),
        "futures, histories dealt": np.linalg.svd(np.concatenate(dealt), compute_uv=False),
    }
    return {
        name: {
            "90%": measure.rank_for(v, 0.9),
            "99%": measure.rank_for(v, 0.99),
            "effective rank": float(np.exp(-np.sum((p := v / v.sum()) * np.log(p + 1e-300)))),
            "singular values": measure.first_of(v / v[0], HISTORIES),
        }
        for name, v in values.items()
    }


def futures_of_decoder(chosen: NDArray[Any]) -> dict[str, Any]:
    """The same for a small decoder, trained from scratch on windows of six tokens of `primer`."""
    labels6 = training.labels_of_primer(length=6, least=2)
    labels = training.labels_of_primer()
    sizes: dict[str, Any] = {
        "V": labels.V,
        "context_length": 6,
        "d": 64,
        "layers": 2,
        "heads": 4,
        "seed": 0,
    }
    decoder = ntp.Transformer(ntp.TransformerConfig(**sizes))
    config = ntp.TrainConfig(**(training.SMALL | {"evaluate": (0, 400)}))
    result = ntp.fit(decoder, labels6, config)
    order = np.sort(np.argsort(-labels.pi, kind="stable")[:HISTORIES])
    contexts = contexts_of(labels)[order]
    W = decoder.W.detach().numpy()
    with torch.no_grad():
        later = []
        for future in chosen:
            longer = np.concatenate([contexts, np.tile(future, (len(contexts), 1))], axis=1)
            later.append(W @ decoder.embeddings(torch.tensor(longer)).numpy())
        now = W @ decoder.embeddings(torch.tensor(contexts_of(labels6))).numpy()
    return ranks_of(now, later) | {"excess loss": result.history["excess_loss"][-1]}


PARTS: dict[str, Callable[[Reader], dict[str, Any]]] = {
    "shown": shown_contexts,
    "lengths": lengths_by_layer,
    "supports": supports,
    **conditions(),
    "spectrum": spectrum,
    "explanations": explanations,
    "futures": futures,
    "history": history,
}


def main(names: list[str]) -> None:
    """Measure what is not stored yet, train, then collect."""
    STORED.mkdir(exist_ok=True)
    reader = Reader()
    difference = check_logits(reader)
    print(f"W H against the model's own logits: {difference:.1e}")
    for name, part in PARTS.items():
        path = STORED / f"{name}.json"
        if path.exists() or (names and name not in names):
            continue
        print(name, flush=True)
        before = time.process_time()
        found = part(reader)
        store(name, found, cpu_seconds=time.process_time() - before)
    if not names or "training" in names:
        training.main([])
    if not names:
        store("ends", ends(reader))
        collect()


def store(name: str, found: dict[str, Any], **facts: Any) -> None:
    """Write what one part measured, with the machine."""
    text = json.dumps({"machine": machine(), **facts, **found}, indent=1)
    (STORED / f"{name}.json").write_text(text + "\n", "utf-8")


def ends(reader: Reader) -> dict[str, Any]:
    """Where the training runs began and ended, against supports dealt out within last tokens."""
    labels = reader.labels("primer", MAIN["primer"])
    found: dict[str, Any] = {}
    for name in training.RUNS:
        path = training.CHECKPOINTS / f"{name}.npz"
        if not path.exists():
            continue
        with np.load(path) as factors:
            H = factors["H"]
        found[name] = {
            "kinds": measure.by_kind(H, labels),
            "dealt within last token": measure.shuffled(H, labels, within_last=True),
        }
    return found


# ---------------------------------------------------------------- the table


COLUMNS = {
    "excess loss": "excess_loss",
    "same support, other last": "same support, other last",
    "in-support error": "in_support_error",
    "cosine to L_mm": "cosine_mm",
    "cosine to proxy": "cosine_proxy",
    "efficiency": "norm_efficiency_lower",
    "effective rank": "effective_rank",
    "alignment": "alignment",
    "collapse k>=2": "collapse k>=2, dealt same last: value",
    "dealt, same last": "collapse k>=2, dealt same last: permuted",
    "p": "collapse k>=2, dealt same last: p_value",
    "dealt, all": "collapse k>=2, dealt among all: permuted",
    "collapse k=1": "collapse k=1, dealt same last: value",
    "k=1 dealt, same last": "collapse k=1, dealt same last: permuted",
    "k=1 movable": "collapse k=1, dealt same last: movable",
    "support_cdnv": "support_cdnv",
    "support_self_duality": "support_self_duality",
}
ROWS = {
    "pretrained, before": ("pretrained_batches_seed0", 0),
    "pretrained, trained further, seed 0": ("pretrained_batches_seed0", -1),
    "pretrained, trained further, seed 1": ("pretrained_batches_seed1", -1),
    "pretrained, full batch": ("pretrained_full", -1),
    "last layer from random, seed 0": ("random_batches_seed0", -1),
    "last layer from random, seed 1": ("random_batches_seed1", -1),
    "decoder from scratch, seed 0": ("decoder_seed0", -1),
    "decoder from scratch, seed 1": ("decoder_seed1", -1),
    "free vectors, seed 0": ("free_seed0", -1),
    "free vectors, seed 1": ("free_seed1", -1),
    "free vectors from the pretrained ones": ("free_from_pretrained", -1),
    "the same, ten times the learning rate": ("free_from_pretrained_fast", -1),
    "free vectors as long as those, seed 0": ("free_large_seed0", -1),
    "free vectors as long as those, seed 1": ("free_large_seed1", -1),
    "path at the pretrained model's loss": ("path_pretrained_batches_seed0", -1),
    "path at the decoder's loss": ("path_decoder_seed0", -1),
}


def collect() -> None:
    """The table of all models on the same soft labels: results/pretrained.json and .md."""
    rows = []
    for name, (run, at) in ROWS.items():
        path = STORED / f"{run}.json"
        if path.exists():
            history = json.loads(path.read_text("utf-8"))["history"]
            rows.append({"model": name} | {c: history[key][at] for c, key in COLUMNS.items()})
    report(
        "pretrained",
        "A pretrained model, trained further on `primer`, beside models from scratch and the path",
        rows,
        "V=117, m=467 contexts of four of the pretrained model's own tokens, at least five times "
        "each. Of the pretrained model the last of 30 layers, the last norm and the rows of W are "
        "trained. efficiency: the certified lower bound. collapse: within over total variability "
        "of the context vectors in support classes; dealt: the mean with classes dealt out anew.",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
