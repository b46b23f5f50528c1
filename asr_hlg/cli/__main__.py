"""``python -m asr_hlg.cli``, for when the command ``asr-hlg`` is not on the path."""

import sys

from asr_hlg.cli import main

sys.exit(main())
