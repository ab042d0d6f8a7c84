"""Run the grader: `python -m teaching.grader FOLDER --set 1 --seed 2027`."""

import sys

from teaching.grader.command_line import BAD_INPUT, main
from teaching.grader.errors import BadInputError

if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInputError as error:
        print(f"grade: {error}.", file=sys.stderr)
        sys.exit(BAD_INPUT)
