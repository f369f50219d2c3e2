"""``python -m datumaro_clip.cli`` is ``datum-clip``."""

from __future__ import annotations

import sys

from datumaro_clip.cli import main

sys.exit(main())
