"""The identity of a run: WHAT was computed, never a name or a place.

    identity = configuration that determines the numbers (fingerprint) + content of the data (checksum) + code version

A run is done where a record of the same identity has ended for good. A record or a checkpoint that agrees in the
fingerprint alone is of other data or of other code, and the numbers of the two are never mixed.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Identity:
    """Fingerprint (16 hex digits), checksum of the data (sha256) and code version (16 hex digits) of a run."""

    fingerprint: str
    data: str
    code: str

    @functools.cached_property
    def key(self) -> str:
        """Return 16 hex digits that stand for all three; run.json has them as `identity`."""
        return digest([self.fingerprint, self.data, self.code])

    @classmethod
    def of_record(cls, run: dict[str, Any]) -> "Identity":
        """Return the identity of a run.json; an old record has the code version `unknown`, which equals no other."""
        return cls(run["fingerprint"], run["task"]["checksum"], run.get("code_version") or "unknown")


def digest(values: Any) -> str:
    """Return 16 hex digits that stand for these values, whatever the order of their keys; 1 and 1.0 are one number."""
    return hashlib.sha256(json.dumps(canonical(values), sort_keys=True).encode()).hexdigest()[:16]


def canonical(value: Any) -> Any:
    """Return the value with whole floats as integers, at any depth: the command line may spell a number either way."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def difference(before: Identity, now: Identity) -> str:
    """Return in words what differs between two runs: a file that is no data, the data, or the code."""
    if before.fingerprint != now.fingerprint:
        return "a file that the configuration names changed since"
    if before.data != now.data:
        return f"data changed since (checksum {before.data[:8]} -> {now.data[:8]})"
    return f"the code that makes the numbers changed since (version {before.code[:8]} -> {now.code[:8]})"


def leaves(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the dotted key and the value of each leaf of nested dictionaries."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
