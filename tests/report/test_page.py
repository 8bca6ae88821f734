"""report.html as a browser sees it: every picture shown, tables sortable, nothing on the console, nothing fetched."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_records import write_record

from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make
from psilon_bench.report.write import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom"),
)
PROBE = """
<script>
addEventListener("load", () => {
  const column = () => [...document.querySelectorAll("#summary tbody tr")].map(row => row.cells[COLUMN].innerText);
  const click = () => document.querySelectorAll("#summary th button")[COLUMN].click();
  const shown = image => image.complete && image.naturalWidth > 0;
  const found = {pictures: [...document.images].map(shown), before: column()};
  click(); found.up = column();
  click(); found.down = column();
  found.sort = document.querySelectorAll("#summary th")[COLUMN].ariaSort;
  const names = performance.getEntriesByType("resource").map(one => one.name);
  found.loaded = names.filter(name => !name.startsWith("data:"));
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(found);
  document.body.append(probe);
});
</script>
"""


@pytest.fixture(scope="module")
def page(full: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the full records."""
    metric = chosen_by("val/loss", None)
    made = make([full], metric)
    return write_report(made, tmp_path_factory.mktemp("out"), Material(made.choices, metric))


def browse(page: Path, folder: Path, column: int) -> tuple[dict[str, Any], str]:
    """What the probe found, and the console."""
    probed = folder / "probed.html"
    probed.write_text(
        page.read_text(encoding="utf-8").replace("</body>", PROBE.replace("COLUMN", str(column)) + "</body>")
    )
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (found,) = re.findall(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(found), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_it_whole(page: Any, tmp_path: Path) -> None:
    """Every picture; the losses sorted upwards and downwards by number, not by text."""
    columns = re.findall(r"<button[^>]*>([^<]*)</button>", page.read_text().partition("</thead>")[0])
    found, console = browse(page, tmp_path, columns.index("val/loss"))
    assert found["pictures"] == [True] * len(list((page.parent / "figures").glob("*.svg")))
    assert len(found["pictures"]) > 10
    assert found["loaded"] == []
    numbers = [float(text.split()[0]) for text in found["before"]]
    assert len(numbers) == 9
    assert numbers != sorted(numbers)
    assert [float(text.split()[0]) for text in found["up"]] == sorted(numbers)
    assert [float(text.split()[0]) for text in found["down"]] == sorted(numbers, reverse=True)
    assert found["sort"] == "descending"
    assert "CONSOLE" not in console


def test_nothing_is_asked_of_the_network(page: Any) -> None:
    """No address but those within the page."""
    text = page.read_text()
    sources = re.findall(r'\b(?:src|href)="([^"]*)"', text)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in text
    assert "url(" not in text


def test_what_runs_say_is_text_not_html(tmp_path: Path) -> None:
    """A reason with a tag in it stays a reason."""
    write_record(tmp_path / "runs", 1e-3, 0, {"val/loss": 1.0})
    write_record(tmp_path / "runs", 1e-2, 0, {}, status="failed", reason="<script>alert(1)</script>")
    html = write_report(make([tmp_path / "runs"], chosen_by("val/loss", None)), tmp_path / "out").read_text()
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
