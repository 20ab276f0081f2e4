"""`python -m gigaslide.cli`: the command without its script, as jobs of a cluster run it."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
