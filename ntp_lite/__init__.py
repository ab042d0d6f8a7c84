"""ntp_lite: the geometry of next-token prediction, computed and certified.

Modules are the nouns of the derivation, in its order: corpus, soft_labels, loss, decomposition,
certificate, ufm, transformer, train, margin, path, geometry; plots draws what they compute.
"""

from . import plots
from .certificate import Certificate, certify_margin, certify_ridge, project_dual, project_margin
from .corpus import Vocabulary, load_corpus, tokenize
from .decomposition import SplitLogits, in_support_logits, split_logits
from .geometry import (
    CollapseResult,
    Factors,
    Orthants,
    cosine_similarity,
    orthants,
    seriation,
    support_collapse,
    word_context_factors,
)
from .loss import cross_entropy, excess_loss
from .margin import (
    MarginProgress,
    MaxMarginResult,
    ProxyBounds,
    centered_support,
    proxy_bounds,
    solve_max_margin,
)
from .path import RidgeResult, ridge_max, ridge_path, solve_ridge
from .soft_labels import SoftLabels, random_soft_labels
from .train import FitResult, TrainConfig, fit, resume
from .transformer import Transformer, TransformerConfig
from .ufm import UFM, balanced_factors
