"""Owns `python -m perfsuite.cli`, for where the script is not on the path."""

import sys

from perfsuite.cli import main

sys.exit(main())
