"""Where the site is that tests look at: the one that `make book` builds, or another one."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("NTP_SITE", ROOT / "_build/html"))
