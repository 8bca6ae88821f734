"""The script of the soundness figures, with few networks: no certified row loses its class in float32."""

import importlib.util
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "scripts" / "soundness_figures.py"


def test_no_attacked_pair_is_a_violation() -> None:
    """Of all kinds and both certificates; without certificates an attack of that size does break rows."""
    spec = importlib.util.spec_from_file_location("soundness_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    pairs, violations = script.attacked(networks=8, pairs=4_000)
    assert len(pairs) == 8
    assert sum(pairs.values()) > 3_000
    assert sum(violations.values()) == 0
    script.certified_rows = lambda net, x, y, radius, certificate: y >= 0
    script.pairwise_radii = lambda net, x, y: 0 * x[:, 0] + 1.0
    assert sum(script.attacked(networks=4, pairs=500)[1].values()) > 0
