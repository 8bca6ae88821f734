"""What a sweep varies and what it repeats: a setting is all values of a run but those that tell replicates apart."""

from psilon_bench.config.identity import digest, leaves
from psilon_bench.config.repeated import FOLD_COUNT, FOLDS, REPLICATES, fold_words
from psilon_bench.config.schema import Config


def setting_of(config: Config) -> str:
    """Return a hash of all values that determine the numbers of a run, without those of REPLICATES.

    A refit has the setting of the folds that it follows, so the number of folds is left out, too.
    """
    left_out = (*REPLICATES, FOLD_COUNT)
    return digest({key: value for key, value in leaves(config.determining()) if key not in left_out})


def replicate_of(config: Config) -> str:
    """Return the values of REPLICATES in words, `seed=0 dataset.split_seed=3 fold=1`, by which settings are paired."""
    values = config.flat()
    seeds = [f"{key}={values[key]}" for key in REPLICATES[:2] if values.get(key) is not None]
    return " ".join(seeds + fold_words(config.dataset.arguments))


def setting_title(config: Config) -> str:
    """Return the title of a run without the values of REPLICATES: `pnet pathnorm lam=0.001`."""
    return " ".join(word for word in config.title.split() if word.partition("=")[0] not in (*REPLICATES, *FOLDS))
