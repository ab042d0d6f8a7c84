"""`python -m ntp_lite`: see `ntp_lite.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
