"""Small labels and models that several tests train."""

from __future__ import annotations

import numpy as np
import torch

import ntp_lite as ntp

LABELS = ntp.random_soft_labels(V=12, m=31, support_size=3, seed=4)
RIDGE = 1e-3


def ufm(d: int = 12, seed: int = 0, **options: object) -> ntp.UFM:
    return ntp.UFM(LABELS.V, LABELS.m, d, seed, **options)


class WithDropout(torch.nn.Module):
    """Reads tokens; differs between training and evaluation."""

    def __init__(self, d: int = 6, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.W = torch.nn.Parameter(torch.randn(12, d, generator=generator))
        self.table = torch.nn.Parameter(torch.randn(31, d, generator=generator))
        self.norm = torch.nn.BatchNorm1d(d)
        self.drop = torch.nn.Dropout(0.5)

    def embeddings(self, contexts: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.table[contexts[:, 0]])).T


NAMED = ntp.SoftLabels.from_counts(LABELS.N, contexts=np.arange(31)[:, None])
