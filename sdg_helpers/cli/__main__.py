"""`python -m sdg_helpers.cli`, for when the command `sdg` is not on the path."""

import sys

from sdg_helpers.cli.main import main

sys.exit(main())
