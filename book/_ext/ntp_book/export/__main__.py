"""Run `python -m ntp_book.export`."""

import sys

from .cli import main

sys.exit(main())
