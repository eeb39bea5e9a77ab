"""`python -m tessera_mosaic` is the same as `tessera-mosaic`."""

import sys

from tessera_mosaic.pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
