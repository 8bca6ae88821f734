"""Where the configuration lies. Alone in its file, for `psilon-run --help` needs nothing else of this package."""

from pathlib import Path

# in the source tree conf/ lies beside the package, in a wheel inside it
CONF = next(folder for parent in Path(__file__).parents[1:3] if (folder := parent / "conf").is_dir())
