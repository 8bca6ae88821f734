"""What a sweep varies and what it repeats: a setting is all values of a run but those that tell replicates apart."""

from psilon_bench.config.identity import digest
from psilon_bench.config.schema import Config, leaves

REPEATED = ("seed", "dataset.split_seed")  # the keys that tell the replicates of a setting apart


def setting_of(config: Config) -> str:
    """Return a hash of all values that determine the numbers of a run, without those of REPEATED."""
    return digest({key: value for key, value in leaves(config.determining()) if key not in REPEATED})


def replicate_of(config: Config) -> str:
    """Return the values of REPEATED in words, `seed=0 dataset.split_seed=3`, by which settings are paired."""
    values = config.flat()
    return " ".join(f"{key}={values[key]}" for key in REPEATED if values.get(key) is not None)


def setting_title(config: Config) -> str:
    """Return the title of a run without the values of REPEATED: `pnet pathnorm lam=0.001`."""
    return " ".join(word for word in config.title.split() if word.partition("=")[0] not in REPEATED)
