"""Draw the picture in the README: logits come apart into a part that freezes and one that grows.

    python book/assets/readme_picture.py

The twelve contexts of `lily` at a small ridge: the logits, their in-support component L_in, which
stays finite, and the rest divided by its size, beside the max-margin solution L_mm that it
tends to.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ntp_lite as ntp

STEMS = [
    *("lily was", "lily felt", "saw a", "drew a", "ate an", "wanted an"),
    *("ran to", "went to", "found a", "lost a", "brushed her", "said thank"),
]
RIDGE = 1e-9

ids, vocab = ntp.load_corpus("lily")
everything = ntp.SoftLabels.from_tokens(ids, context_length=2, vocab_size=len(vocab))
columns = [
    int(np.flatnonzero((everything.contexts == vocab.encode(stem)).all(axis=1))[0])
    for stem in STEMS
]
labels = everything.select(columns)
S = labels.S.toarray()
# Tokens that follow no context would be empty rows; the others stand as contexts first use them.
rows = sorted(np.flatnonzero(S.any(axis=1)), key=lambda z: (int(np.argmax(S[z])), z))

L = ntp.solve_ridge(labels, RIDGE).L
parts = ntp.split_logits(L, labels)
L_mm = ntp.solve_max_margin(labels).L
orthogonal = np.asarray(parts.orthogonal)
scale = np.vdot(orthogonal, L_mm) / np.vdot(L_mm, L_mm)
cosine = np.vdot(orthogonal, L_mm) / np.linalg.norm(orthogonal) / np.linalg.norm(L_mm)

panels = [
    (L, "trained logits $L$"),
    (ntp.in_support_logits(labels).toarray(), "sparse: $L_{in}$ (frequencies)"),
    (orthogonal / scale, f"the rest of $L$, divided by {scale:.0f}"),
    (L_mm, "limit: $L_{mm}$ (supports)"),
]
fig, axes = plt.subplots(1, 4, figsize=(12, 4.8), layout="constrained", sharey=True)
names = [vocab.tokens[z] for z in rows]
for ax, (matrix, title) in zip(axes, panels, strict=True):
    ntp.plots.heat_map(ax, matrix[rows], rows=names, columns=STEMS, colorbar=False)
    ax.set_title(title, fontsize=12)
    ax.set_xlabel("")
    ax.tick_params(axis="x", labelsize=9, rotation=90, length=0)
    ax.tick_params(axis="y", labelsize=8, length=0)
axes[0].set_ylabel("next token", fontsize=11)
target = Path(__file__).with_name("readme.png")
fig.savefig(target, dpi=110, facecolor="white", metadata={"Software": None})
print(f"{target.name}: cosine of the two right panels {cosine:.3f}")
