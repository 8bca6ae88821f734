"""psilon-certify: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from psilon_bench.cli.chosen import chosen_run, of_own_networks, say
from psilon_bench.cli.exit import run_command
from psilon_bench.config.conf_folder import add_folder
from psilon_bench.errors import UsageError

NAME = "psilon-certify"


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 a certificate is not proved, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(certify, NAME, "stopped")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--exact", is_flag=True, help="Search the activation patterns, beside the path norm.")
@click.option("--time", "seconds", type=click.FloatRange(min=1), default=60, show_default=True, help="Seconds in all.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the proofs to this file.")
@click.option(
    "--check", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Check such a file, without a RUN."
)
@of_own_networks
def certify(
    run: Path | None, exact: bool, seconds: float, out: Path | None, check: Path | None, config_dir: Path | None
) -> None:
    """Bound how fast the outputs of RUN's network change: from the largest move of an input (L_inf) to outputs (L1).

    The compact network is taken where there is one. --exact bounds the largest slope over all activation patterns, by
    branch and bound: a pattern that has `lower`, and a tree that proves `upper`, which --out writes.
    """
    if check is not None:
        sys.exit(checked(check))
    if run is None or (out is not None and not exact):
        raise UsageError("Name the folder of a RUN, with --out only where --exact is; or --check FILE.")
    if config_dir is not None:
        add_folder(config_dir)
    from psilon_bench.export.lipschitz_claims import claims_of
    from psilon_bench.records.atomic_files import atomic_write
    from psilon_bench.training.certified import upper_lipschitz_bound

    chosen = chosen_run(run, NAME)
    saved = chosen.load(chosen.smallest())
    if not exact:
        print(f"all outputs (L1): at most {upper_lipschitz_bound(saved.network):.6g}, the path norm")
        return
    claims = []
    for claim in claims_of(saved.network, saved.task.get("classes", []), seconds):
        found = claim.found
        print(
            f"{claim.of}: lower {found.lower:.6g}, upper {found.proved:.6g} (gap {found.gap:.2g}), "
            f"path norm {claim.path_norm:.6g}"
        )
        claims.append(claim.as_json())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as part:
            part.write_text(json.dumps({"claims": claims}), encoding="utf-8")
        say(NAME, f"{len(claims)} claims with their proofs: {out}")


def checked(file: Path) -> int:
    """Print what the checker finds, claim by claim, and return 1 where one is not proved."""
    from psilon_bench.export.check_certificate import problems_of

    failed = False
    try:
        for claim, problem in problems_of(file.read_text(encoding="utf-8")):
            print(f"{claim}: {problem or 'proved'}", flush=True)  # the next one may take minutes
            failed |= bool(problem)
    except ValueError as error:
        raise UsageError(f"--check needs a file of psilon-certify --exact --out, but of {file}: {error}.") from error
    return int(failed)
