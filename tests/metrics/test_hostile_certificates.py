"""Files that the checker of certificates refuses, whatever they are made of, and the least that it proves."""

import json
from typing import Any

import pytest
import torch

from psilon_bench.export import check_certificate
from psilon_bench.export.lipschitz_claims import claims_of


def distance(*last: float, **changes: Any) -> dict[str, Any]:
    """A claim on |t_1 - t_2|, or on what a last layer of these two slopes makes of t_1 - t_2."""
    differ, (plus, minus) = [[1.0, -1.0]], last or (1.0, -1.0)
    layers = [{"positive": differ, "negative": differ}, {"positive": [[plus]], "negative": [[minus]]}]
    return {"of": "x", "lower": 0.0, "proved": 2.0, "layers": layers, "pattern": [1], "tree": [None]} | changes


def test_true_is_no_place_of_a_tree() -> None:
    """It is an index of all places at once for numpy, so that two leaves with all inputs alike would prove 0 of 2."""
    for place in (True, False, 1.0):
        text = json.dumps({"claims": [distance(proved=0.5, tree=[place, None, None])]})
        with pytest.raises(ValueError, match="no file of"):
            list(check_certificate.problems_of(text))


def test_an_output_without_paths_has_the_slope_0(network: Any) -> None:
    """Whatever is rounded: its path norm is 0, and no less is proved."""
    model = network("plain", 3, 2)
    with torch.no_grad():
        model.layers[-1].weight[1] = 0
    *_, dead = claims_of(model, ["alive", "dead"], 60)
    assert (dead.of, dead.found.lower, dead.found.proved) == ("output dead", 0, 0)
    assert check_certificate.problem_of(dead.as_json()) == ""
    for proofs in ([], [{"unit": [0.0], "square": [0.0] * 4}]):
        assert check_certificate.problem_of(distance(0.0, 0.0, proved=0.0, proofs=proofs)) == ""
        below = distance(0.0, 0.0, proved=-1e-300, proofs=proofs)
        assert "does not prove" in check_certificate.problem_of(below)


NESTED = '{"claims": ' + "[" * 100_000 + "]" * 100_000 + "}"
NO_INPUT = json.dumps({"claims": [distance(layers=[{"positive": [[]], "negative": [[]]}])]})


@pytest.mark.parametrize(
    "text", ["", "[]", '{"claims": []}', '{"claims": [{"of": "x"}]}', '{"claims": [1]}', NESTED, NO_INPUT]
)
def test_other_files_are_no_proofs(text: str) -> None:
    """Nor is one of no claims."""
    with pytest.raises(ValueError, match=r"no claims|no file of"):
        list(check_certificate.problems_of(text))


def test_text_in_a_matrix_is_no_number() -> None:
    """A third has no power of two below it, so that whole numbers would stand for another network, of the slope 0."""
    ones, third = [[1]], [["1/3"]]
    layer, steep = {"positive": ones, "negative": ones}, {"positive": third, "negative": third}
    claim = {"of": "x", "lower": 0, "proved": 0, "layers": [layer, steep], "pattern": [1], "tree": [None]}
    with pytest.raises(ValueError, match="no file of"):
        list(check_certificate.problems_of(json.dumps({"claims": [claim]})))
