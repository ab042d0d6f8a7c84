# ruff: noqa: I001 - in the order of the derivation, one line or two for each module
"""ntp_lite: the geometry of next-token prediction, computed and certified.

Modules are the nouns of the derivation, in its order; plots draws what they compute.
"""

from .corpus import Vocabulary, load_corpus, tokenize
from .soft_labels import SoftLabels, random_soft_labels
from .loss import cross_entropy, excess_loss
from .decomposition import SplitLogits, in_support_logits, split_logits
from .certificate import Certificate, certify_margin, certify_ridge, project_dual, project_margin
from .ufm import UFM, balanced_factors
from .transformer import Transformer, TransformerConfig
from .train import FitResult, TrainConfig, fit, resume
from .margin import MarginProgress, MaxMarginResult, ProxyBounds
from .margin import centered_support, proxy_bounds, solve_max_margin
from .path import RidgeResult, ridge_max, ridge_path, solve_ridge
from .geometry import CollapseResult, Factors, Orthants, cosine_similarity, orthants, seriation
from .geometry import support_collapse, word_context_factors
from . import plots
