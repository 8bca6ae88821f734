"""config.yaml: the text that OmegaConf writes, and the same values when it is read."""

import pytest
import yaml
from omegaconf import OmegaConf

from psilon_bench.records.config_yaml import config_text

WORDS = ["", "1e-4", "1_000", "nan", "-inf", "0x1f", "1.0", "\u0661", "y", "Yes", "yEs", "OFF", "True", "tRUE", "null"]
WORDS += ["a: b", "a #b", "- x", "'q'", '"d"', " lead", "trail ", "@x", "{a}", "[1]", "2024-01-01", "12:30:00", "!t"]
WORDS += ["~", "&a", "*a", "?", "|", "=", "<<", "/a/b c/d", "C:\\path", "a\u00a0b", "\u2028", "\u00e9" * 60, "x" * 300]
WORDS += ["long word " * 30]


@pytest.mark.parametrize("word", WORDS)
def test_the_text_is_that_of_omegaconf(word: str) -> None:
    values = {"a": word, "b": {"c": [word, {"d": word}]}}
    assert config_text(values) == OmegaConf.to_yaml(OmegaConf.create(values))


def test_values_keep_their_types_and_their_order() -> None:
    values = {"b": True, "a": None, "c": [1e-4, 1e20, -0.0, 0.1 + 0.2, 10**18], "d": {}, "e": [], "f": {"k": (1, 2)}}
    assert config_text(values) == OmegaConf.to_yaml(OmegaConf.create(values))
    assert yaml.safe_load(config_text(values))["c"][3] == 0.1 + 0.2


def test_a_list_that_is_there_twice_is_written_twice() -> None:
    radii = [0.1, 0.2]
    assert yaml.safe_load(config_text({"a": radii, "b": radii})) == {"a": radii, "b": radii}
    assert "&" not in config_text({"a": radii, "b": radii})


@pytest.mark.parametrize("word", ["\U0001f600", "x" * 200, "\u00e9" * 200])
def test_whatever_a_name_is_both_read_it_back(word: str) -> None:
    """Letters beyond the first plane are escaped, long keys are marked, where OmegaConf writes them as they are."""
    text = config_text({word: [word]})
    assert yaml.safe_load(text) == {word: [word]} == OmegaConf.to_container(OmegaConf.create(text))


@pytest.mark.parametrize("word", ["9._E0", "1_.5", "0o17", "_1", "0x_1"])
def test_text_is_quoted_that_some_reader_takes_for_a_number(word: str) -> None:
    """OmegaConf's reader takes 9._E0 for 9, and that of YAML 1.2 takes 0o17 for 15."""
    text = config_text({"a": word})
    assert text == f"a: '{word}'\n"
    assert OmegaConf.to_container(OmegaConf.create(text)) == yaml.safe_load(text) == {"a": word}
