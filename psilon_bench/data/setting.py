"""How a value is typed on the command line: what Hydra's grammar or the shell would misread is put in quotes."""

import re
import shlex
from collections.abc import Sequence

PLAIN = re.compile(r"[A-Za-z_?][A-Za-z0-9_./?%@+-]*")
LITERALS = {"null", "true", "false", "nan", "inf"}  # words that Hydra takes for values other than text


def setting(key: str, value: str | Sequence[object]) -> str:
    """Return KEY=VALUE as it is typed: `dataset.drop=[id]`, `'dataset.drop=["a,b"]'`; lists get brackets."""
    words = [value] if isinstance(value, str) else list(value)
    plain = all(isinstance(word, float | int) or _is_plain(str(word)) for word in words)
    text = ",".join(str(w) if isinstance(w, float | int) or _is_plain(str(w)) else _quoted(str(w)) for w in words)
    whole = f"{key}={text}" if isinstance(value, str) else f"{key}=[{text}]"
    return whole if plain else shlex.quote(whole)


def _is_plain(word: str) -> bool:
    """Tell whether a word needs no quotes."""
    return PLAIN.fullmatch(word) is not None and word.lower() not in LITERALS


def _quoted(word: str) -> str:
    """Return a word in double quotes."""
    escaped = word.replace('"', '\\"')
    return f'"{escaped}"'
