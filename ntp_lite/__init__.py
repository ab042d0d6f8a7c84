# ruff: noqa: I001 - each module imports only from those above it (tests/package/test_architecture.py)
"""ntp_lite: the geometry of next-token prediction, computed and certified."""

from .corpus import Vocabulary, load_corpus, tokenize
from .soft_labels import SoftLabels, random_soft_labels
from .loss import cross_entropy, excess_loss
from .linalg import balanced_factors, effective_rank
from .constraints import centered_support, project_dual, project_margin
from .in_support import SplitLogits, in_support_logits, split_logits
from .status import Status
from .certificate import (
    Certificate,
    MarginCertificate,
    RidgeCertificate,
    certify_margin,
    certify_ridge,
)
from .margin import MarginProgress, MaxMarginResult, ProxyBounds, proxy_bounds, solve_max_margin
from .complementarity import StrictComplementarity, strict_complementarity
from .path import RidgeProgress, RidgeResult, ridge_max, ridge_path, solve_ridge
from .efficiency import NormEfficiency, norm_efficiency
from .geometry import CollapseResult, Factors, Orthants, cosine_similarity, orthants, seriation
from .geometry import support_collapse, word_context_factors
from .models import UFM, Model, Transformer, TransformerConfig
from .metrics import CollapseTest, NeuralCollapse, collapse_test, gradient_bottleneck
from .metrics import neural_collapse, soft_self_duality, stable_rank, standard_metrics
from .optimizers import OPTIMIZERS, Optimizer
from .config import TrainConfig
from ._checkpoint import Checkpoint, load
from .train import FitResult, Trainer, fit, resume
from .reports import Report, report
from . import plots
