"""The text of config.yaml, which OmegaConf and YAML read as the same values."""

import contextlib
from typing import Any

import yaml

BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}  # of YAML 1.1, in three spellings each


class Dumper(yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper):  # type: ignore[misc]
    """A dumper that repeats what is there twice, and quotes text that OmegaConf would read as a number or a boolean.

    It writes what OmegaConf.to_yaml writes, which takes 15 times as long: it is written in Python. Beyond that it
    quotes `9._E0`, which OmegaConf reads as 9, and `0o17`, which YAML 1.2 reads as 15.
    """

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (yaml's signature)
        """Return that no value stands for another."""
        return True


def text_scalar(dumper: Dumper, text: str) -> yaml.ScalarNode:
    """Return the node of a text, quoted where it reads like a number (`1e-4`, to YAML 1.1 none) or a boolean."""
    quoted = reads_as_number(text) or (text.lower() in BOOLEANS and text in (text.lower(), text.upper(), text.title()))
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)
    return node


Dumper.add_representer(str, text_scalar)


def reads_as_number(text: str) -> bool:
    """Tell whether a reader may take the text for a number, nan and inf among them, wherever it has a _."""
    for read in (float, literal_int):
        with contextlib.suppress(ValueError):
            read(text.replace("_", ""))
            return True
    return False


def literal_int(text: str) -> int:
    """Return the integer that a text like 0o17 stands for; ValueError where it is none."""
    return int(text, 0)


def config_text(values: dict[str, Any]) -> str:
    """Return nested plain values as YAML, in the order of their keys."""
    text: str = yaml.dump(values, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text
