"""The picture of README.md, from the points of a committed report: python scripts/readme_picture.py

Validation cross-entropy on Higgs while networks train, with the weakest and the strongest regularisation of each
family: means over three seeds, or one. The points are those of results/psilon_higgs/report (see results/README.md).
"""

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "results" / "psilon_higgs" / "report" / "figures"
PICTURE = ROOT / "docs" / "pictures" / "higgs.png"
FAMILIES = {
    "pnet pathnorm": ("P-Net", "#0072B2"),
    "snet l2": ("S-Net", "#D55E00"),
    "snet_plain l2": ("S-Net, plain", "#E69F00"),
}


def curves(axes: Any) -> None:
    """Draw mean validation losses against steps, dashed for the smallest lambda of a family."""
    points = pd.read_csv(FIGURES / "curves_higgs.csv")
    for method, (name, colour) in FAMILIES.items():
        own = points[points["method"] == method]
        ordered = sorted(own["setting"].unique(), key=lambda setting: float(setting.removeprefix("lam=")))
        for setting, style in ((ordered[0], "--"), (ordered[-1], "-")):
            line = own[own["setting"] == setting]
            axes.plot(line["step"], line["mean"], style, color=colour, label=f"{name}, {setting}")
    axes.set(xlabel="step", ylabel="validation cross-entropy", title="Higgs, 2000 training rows, width 500")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Write the picture."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    curves(axes)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
