"""What MLflow (3.17.2) keeps of its page of runs, which is not part of its documented interface: shared views."""

import json
from collections.abc import Sequence
from typing import Any

LINE_CHART = {
    "lineSmoothness": 0,
    "xAxisScaleType": "linear",
    "scaleType": "log",
    "range": {},
    "xAxisKey": "step",
    "selectedXAxisMetricKey": "",
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


def view_tag(name: str, title: str, at: int, state: dict[str, Any]) -> tuple[str, str]:
    """Return the tag of an experiment in which MLflow's page finds a shared view, made at a time in milliseconds.

    `mlflow.sharedViewState.<name>` is written by MLflow's page alone, and in no documentation: the state is what the
    page keeps of itself
    (https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/js/src/experiment-tracking/components/experiment-page).
    """
    value = {"name": title, "createdAt": at, "updatedAt": at, "state": json.dumps(state)}
    return f"mlflow.sharedViewState.{name}", json.dumps(value)


def saved_view(
    wanted: str, ordered_by: str, columns: Sequence[str], charts: list[dict[str, Any]], groups: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the state of the page that shows the runs which fit a filter, lowest metric first, with charts.

    `columns` are those of the table; `groups` are the parameters by which runs are averaged, none for the runs
    themselves. The charts stand in a section of their own, above those that MLflow makes of every metric.
    """
    section = {"uuid": "sweep", "name": "The sweep", "display": True, "isReordered": True, "deleted": False}
    common = {"metricSectionId": "sweep", "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    defaults = {"LINE": LINE_CHART}
    return {
        "searchFilter": wanted,
        "orderByKey": f"metrics.`{ordered_by}`",
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [section],
        "compareRunCharts": [
            common | defaults.get(chart["type"], {}) | {"uuid": f"sweep-{number}"} | chart
            for number, chart in enumerate(charts)
        ],
        "isAccordionReordered": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": groups} if groups else None,
    }
