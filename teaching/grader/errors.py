"""What can be wrong with what the grader is given."""


class BadInputError(Exception):
    """What the person who called the command should hear, in one sentence."""


class NotGradedError(Exception):
    """Why a file is no submission to this problem set."""
