"""Where unpacked models are kept, for all runs of this user."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "adaptive-critique-refinement"
