"""What a figure shows, read back from its axes."""

from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.report.drawing import style


def points(drawing: Any) -> Any:
    return pd.DataFrame(drawing.points, columns=list(drawing.columns))


def only(module: Any, material: Any, name: Any = None) -> Any:
    """The drawing of a module, or that of this name."""
    with style():
        (drawing,) = [one for one in module.draw(material) if name in (None, one.name)]
    return drawing


def xy(artist: Any) -> Any:
    return np.asarray(artist.get_xydata()).tolist()
