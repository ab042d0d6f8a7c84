"""What can go wrong with a problem set."""


class AssignmentError(Exception):
    """A problem set that breaks the format, or whose solutions do not earn full marks."""
