"""Why a solver or a training run ended: one enumeration for all of them."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """Why an iteration ended; the value is a sentence for people.

    Programs compare members (`result.status is Status.INTERRUPTED`), never texts. A result's
    `message` is this sentence with the numbers of the run.
    """

    CONVERGED = "converged: the certified relative gap is at most tol"
    FINISHED = "did all steps; no certificate was asked for"
    ITERATION_LIMIT = "stopped at the iteration limit before the gap was closed"
    STALLED = "no further progress in this precision"
    INTERRUPTED = "interrupted; this is the best point so far"

    @property
    def message(self) -> str:
        """The sentence."""
        return self.value
