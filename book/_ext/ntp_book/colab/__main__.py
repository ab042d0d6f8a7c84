"""Run `python -m ntp_book.colab`."""

import sys

from .cli import main

sys.exit(main())
