"""`python -m tessera_mosaic` is the same as `tessera-mosaic`."""

import sys

from tessera_mosaic.search_path import without_folder_of_script

if __name__ == "__main__":
    with without_folder_of_script():
        from tessera_mosaic.pipeline.cli import main

        sys.exit(main())
