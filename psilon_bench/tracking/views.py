"""Saved views of a sweep in MLflow's own pages: its runs at a glance, and means by setting.

MLflow keeps a view that people share as a tag of the experiment, which its page reads again by the link (see
`mlflow_page_internals.view_tag`). Beside a table of the sweep's runs a view has charts: curves, loss against lambda,
loss against path norm, and parallel coordinates.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from psilon_bench.tracking.mlflow_page_internals import saved_view, view_tag

LOSS, OTHERS = "val/loss", ("test/loss", "path_norm", "near_sparsity")
COLUMNS = (
    "attributes.`Created`",
    "params.`model.name`",
    "params.`reg.name`",
    "params.`reg.lam`",
    "params.`seed`",
    "metrics.`val/loss`",
    "metrics.`test/loss`",
    "metrics.`test/accuracy`",
    "metrics.`test/r2`",
    "metrics.`path_norm`",
    "metrics.`num_nonzero`",
)
VIEWS = ("runs", "means")
IGNORED = ("scheduler.total_steps",)  # follows from trainer.epochs, and would come before it


def view_name(sweep: str, view: str) -> str:
    """Return the name by which a link finds the view of a sweep."""
    return f"{sweep}-{view}"


def view_link(experiment_id: str, sweep: str, view: str) -> str:
    """Return the address of a view below that of MLflow's page."""
    shown = f"workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={view_name(sweep, view)}"
    return f"#/experiments/{experiment_id}/runs?{shown}"


def view_tags(sweep: str, varied: list[str], at: int) -> dict[str, str]:
    """Return the tags of the experiment that hold the views of a sweep, with the settings that differ in it."""
    tags = {}
    for view in VIEWS:
        state = view_state(sweep, varied, grouped=view == "means")
        key, value = view_tag(view_name(sweep, view), f"{sweep}: {view}", at, state)
        tags[key] = value
    return tags


def varied_settings(params: Sequence[Mapping[str, Any]], most: int = 6) -> list[str]:
    """Return the first few keys in which the runs of a sweep differ, but for those that follow from one before.

    model.normalization follows from model.name where each network has its own.
    """
    chosen: dict[str, list[str]] = {}  # names first, then the seed, which dataset.split_seed may follow
    for key in sorted(set().union(*params), key=lambda key: (not key.endswith(".name"), key != "seed", key)):
        values = [str(one.get(key)) for one in params]
        if key in IGNORED or key.endswith("_target_") or len(set(values)) == 1:
            continue
        if all(len({*zip(known, values, strict=True)}) > len(set(known)) for known in chosen.values()):
            chosen[key] = values
    return list(chosen)[:most]


def view_state(sweep: str, varied: list[str], grouped: bool) -> dict[str, Any]:
    """Return the state of MLflow's page that shows the sweep; grouped runs differ in their seeds alone."""
    settings = [key for key in varied if key != "seed"]
    charts: list[dict[str, Any]] = [
        {"type": "LINE", "metricKey": LOSS, "selectedMetricKeys": [LOSS], "displayName": f"{LOSS} by step"}
    ]
    if "reg.lam" in varied and not grouped:
        charts.append(against("reg.lam", "PARAM"))
    if not grouped:
        charts.append(against("path_norm", "METRIC"))
        charts.append(
            {
                "type": "PARALLEL",
                "selectedParams": settings or ["seed"],
                "selectedMetrics": [LOSS],
                "showAllRuns": True,
                "displayName": f"{', '.join(settings)} and {LOSS}",
            }
        )
    charts += [{"type": "BAR", "metricKey": name, "displayName": name} for name in (LOSS, *OTHERS)]
    groups = [{"mode": "param", "groupByData": key} for key in settings] if grouped else []
    return saved_view(f"tags.sweep = '{sweep}' and tags.model != ''", LOSS, COLUMNS, charts, groups)


def against(key: str, kind: str) -> dict[str, Any]:
    """Return a chart of the validation loss against a parameter or a metric."""
    return {
        "type": "SCATTER",
        "xaxis": {"key": key, "type": kind},
        "yaxis": {"key": LOSS, "type": "METRIC"},
        "displayName": f"{LOSS} against {key}",
    }


def note(command: list[str] | None, experiment_id: str, sweep: str) -> str:
    """Return the description of a sweep's run: the command that made it, and where to look."""
    links = " and ".join(f"[{view}]({view_link(experiment_id, sweep, view)})" for view in VIEWS)
    lines = [f"Views of this sweep: {links}."]
    if command:
        lines = [f"```\n{shlex.join(command)}\n```", *lines]
    return "\n\n".join(lines)
