"""Where a copy of the real data is, if there is one."""

import os
from pathlib import Path


def real_data_folder() -> Path | None:
    """The folder with openml/ and higgs/: PSILON_REAL_DATA, or one beside the checkout; None where there is none."""
    place = Path(os.environ.get("PSILON_REAL_DATA", Path(__file__).parents[2] / "shared")).absolute()
    return place if (place / "openml" / "contents.json").is_file() else None
