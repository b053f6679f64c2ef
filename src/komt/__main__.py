"""`python -m komt`."""

import sys

from komt.cli import main

sys.exit(main())
