"""The text of config.yaml, which OmegaConf and YAML read as the same values."""

from typing import Any

import yaml

BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}  # of YAML 1.1, in three spellings each


class Dumper(yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper):  # type: ignore[misc]
    """A dumper that repeats what is there twice, and quotes text that OmegaConf would read as a number or a boolean.

    It writes what OmegaConf.to_yaml writes, which takes 15 times as long: it is written in Python.
    """

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (yaml's signature)
        """Return that no value stands for another."""
        return True


def text_scalar(dumper: Dumper, text: str) -> yaml.ScalarNode:
    """Return the node of a text, quoted where it reads like a number (`1e-4`, to YAML 1.1 none) or a boolean."""
    quoted = reads_as_float(text) or (text.lower() in BOOLEANS and text in (text.lower(), text.upper(), text.title()))
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)
    return node


Dumper.add_representer(str, text_scalar)


def reads_as_float(text: str) -> bool:
    """Tell whether Python reads the text as a number, nan and inf among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def config_text(values: dict[str, Any]) -> str:
    """Return nested plain values as YAML, in the order of their keys."""
    text: str = yaml.dump(values, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text
