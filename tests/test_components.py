"""Every file of conf/ by discovery: it composes, its target takes its keys, and it is named after its file."""

import inspect
from typing import Any

import pytest
import torch

from psilon_bench.config.check import SUPPLIED, check, check_arguments
from psilon_bench.config.components import locate
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.options import options
from psilon_bench.config.schema import Config

COMPONENTS = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
PRESETS = ("effort", "experiment", "suite")  # of whole configurations; the other groups are sections of one
SECTIONS = [(group, name) for group, name in COMPONENTS if group not in PRESETS]
BUILT = [(group, name) for group, name in SECTIONS if "_target_" in read_option(CONF / group / f"{name}.yaml")]


def test_every_section_has_options_and_every_folder_is_a_section() -> None:
    """No group is empty, none is unknown to the schema."""
    groups = {group for group, _ in COMPONENTS}
    sections = {name for name in Config.model_fields if (CONF / name).is_dir()}
    assert sections >= {"dataset", "model", "reg", "optimizer", "scheduler", "pruner", "hardware", "tracking"}
    assert groups - set(PRESETS) == sections


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(("group", "name"), SECTIONS)
def test_a_component_composes(composed: Any, group: Any, name: Any) -> None:
    """psilon-run GROUP=NAME is a valid configuration, under the file's name, whose target takes its keys.

    Each key of the file is a parameter of the target, and each parameter without a default has a key. Presets have a
    test of their own, in tests/sweep/test_grids.py.
    """
    section = getattr(check(composed(f"{group}={name}")), group)
    if group != "hardware":
        assert section.name == name
    if (group, name) in BUILT:
        check_keys(group, section)


def check_keys(group: str, section: Any) -> None:
    """Compare the keys of a section with the parameters of its target."""
    signature = inspect.signature(locate(section.target))
    keys = {*section.arguments, *{"dataset": ["name"], "optimizer": ["lr"]}.get(group, [])}
    assert keys <= signature.parameters.keys()
    named = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert {p.name for p in named if p.default is p.empty} <= keys | SUPPLIED.get(group, set())
    assert (locate(section.target).__doc__ or inspect.getmodule(locate(section.target)).__doc__ or "").strip()


@pytest.mark.parametrize(("group", "name"), [c for c in BUILT if c[0] in ("model", "reg")])
def test_a_component_can_be_built_alone(group: Any, name: Any) -> None:
    """options() gives sections that can be built without a composed configuration, as the remedies of errors do."""
    section = options(group)[name]
    check_arguments(group, section)
    supplied = {"num_features": 768, "num_outputs": 2, "input_shape": (3, 16, 16)} if group == "model" else {}
    with torch.device("meta"):
        assert section.build(**supplied) is not None


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_lines_fit_a_screen(path: Any) -> None:
    """120 columns, in comments too."""
    assert max(map(len, path.read_text().splitlines())) <= 120
