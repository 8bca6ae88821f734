"""Files of published numbers that are wrong: one line with the rule, the value, the remedy and the place."""

from pathlib import Path

import pytest
from published_files import LOSS, write_runs

from psilon_bench.errors import UsageError
from psilon_bench.report.against import compare_with
from psilon_bench.report.our_tests import our_tests
from psilon_bench.report.published import read_published
from psilon_bench.report.report import make

GOOD = "dataset,method,metric,value,sd,n,seconds,fold\nsea,a,rmse,1.5,.1,3,7,0\nsea,b,rmse,2.5,.1,3,7,0\n"
WRONG = {
    "": r"has no rows",
    GOOD.splitlines()[0]: r"has no rows",
    GOOD.replace("method", "model"): r"lacks method\. Columns: dataset, model, metric",
    GOOD.replace(
        "value", "number"
    ): r"one of value, mean, metric_error, but lacks value or mean or metric_error|lacks value",
    GOOD.replace(",sd,", ",mean,"): r"must have one of the columns value and mean\. Remove",
    GOOD.replace(",sd,", ",value,"): r"must have each column once, but value is there twice",
    GOOD.replace("sea,b", "sea,a"): r", line 3: sea 0 a rmse must have one number, but line 2 has one, too",
    GOOD.replace("2.5", "good"): r", line 3: value must be a finite number, but it is 'good'\. Correct it",
    GOOD.replace("2.5", "nan"): r", line 3: value must be a finite number, but it is 'nan'",
    GOOD.replace("2.5", "-inf"): r", line 3: value must be a finite number, but it is '-inf'",
    GOOD.replace("1.5", "").replace("2.5", ""): r"must have a number in some row",
    GOOD.replace(".1,3,7,0\n", "-1,3,7,0\n", 1): r", line 2: sd must be a finite number of at least 0, but it is '-1'",
    GOOD.replace("3,7", "2.5,7"): r", line 2: n must be a whole number, but it is '2\.5'",
    GOOD.replace("7,0\n", "7,\n"): r", line 2: fold or split must be a whole number, but it is empty",
    GOOD.replace("7,0\n", "7,0,9\n"): r", line 2 must have 8 fields, but it has 9",
    GOOD.replace("sea,b", ",b"): r", line 3: dataset must be a name, but it is empty",
    GOOD.replace(
        "rmse,2.5", "accuracy,97.5"
    ): r", line 3: value of accuracy must lead to a number from 0 to 1, .* 97\.5",
    GOOD.replace("2.5", "-2.5"): r", line 3: value of rmse must lead to a number of at least 0, but it is -2.5\. Corr",
    GOOD.replace("rmse", "roc_auc")
    .replace("1.5", ".1")
    .replace("2.5", ".2"): r"better than guessing, but their median",
    GOOD.replace("sea", "moon"): r"it has no data set of ours, air, sea, soil\. It has moon\. Give one",
    GOOD.replace("rmse", "test_ll"): r"none of its numbers can be compared with ours \(.*no metric of ours is test_ll",
    GOOD.replace("rmse", "roc_auc")
    .replace("1.5", ".8")
    .replace("2.5", ".9"): r"a task of regression, which has no roc_auc",
    GOOD.replace(",b,", ",b (ours),"): r"the method b \(ours\) is named as ours are",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_wrong_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    """Rule, value and remedy, with the line."""
    file = tmp_path / "published.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=WRONG[text]) as raised:
        compare_with(read_published(file), our_tests(make([write_runs(tmp_path / "runs")], LOSS).choices))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"--against {file}")


@pytest.mark.parametrize("name", ["absent.csv", "broken.parquet", "latin.csv"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """None there, no Parquet, no UTF-8."""
    if name != "absent.csv":
        (tmp_path / name).write_bytes(GOOD.replace("sea", "sée").encode("latin-1"))
    with pytest.raises(UsageError, match=r"must name a file|must be a CSV or Parquet table, but it cannot be read"):
        read_published(tmp_path / name)
