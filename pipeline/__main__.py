"""`python -m pipeline` is the same as `tessera-mosaic`."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
