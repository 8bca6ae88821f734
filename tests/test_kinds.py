"""What a configuration may name: of its section's kind, and from nowhere that nobody named."""

import subprocess
import sys
from pathlib import Path

import pytest

from psilon_bench.config.components import BASES, check_target, is_kind, kind, locate
from psilon_bench.config.options import options
from psilon_bench.errors import UsageError

TARGETS = {section: {option.target for option in options(section).values()} for section in BASES}


@pytest.mark.parametrize("section", BASES)
def test_every_option_is_of_its_kind_and_of_no_other(section: str) -> None:
    """By discovery over conf/; the message says what it should be."""
    for target in TARGETS[section]:
        check_target(section, target)
    for target in set().union(*(TARGETS[other] for other in BASES if other != section)):
        with pytest.raises(
            UsageError, match=rf"^{section}\._target_='{target}' is not valid: it should be a "
        ) as caught:
            check_target(section, target)
        assert kind(section) in str(caught.value)


@pytest.mark.parametrize("section", BASES)
@pytest.mark.parametrize(
    "target", ["torch.hub.load", "psilon_bench.cli.run.main", "torch.nn.functional.relu", "torch.Tensor"]
)
def test_what_is_of_no_kind(section: str, target: str) -> None:
    """Functions, and classes of other bases, of torch and of ours."""
    assert not is_kind(section, locate(target))


@pytest.mark.parametrize("target", ["pty.spawn", "os.system", "this.s", "sklearn.linear_model.Ridge", "no.no"])
def test_foreign_modules_are_not_even_imported(target: str) -> None:
    """Of the standard library, installed, or nowhere: refused, and `import this` has not printed."""
    code = f"import sys; from psilon_bench.config.components import locate\ntry: locate({target!r})\n"
    code += f"except ImportError as error: print(error)\nprint({target.partition('.')[0]!r} in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    module = target.partition(".")[0]
    there = module == "os"  # without which nothing starts
    assert said == (
        f"{module} is none of psilon_bench, torch, nor a module of the working folder, of PYTHONPATH or of a folder "
        f"that --config-dir or PSILON_COMPONENTS names, by a name of its own\n{there}\n"
    )


def test_modules_of_the_working_folder(tmp_path: Path) -> None:
    """Found there (in a package as well) unless an installed module has the name; what fails in them is told."""
    (tmp_path / "mine_a").mkdir()
    (tmp_path / "mine_a" / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Linear):\n    pass\n", encoding="utf-8"
    )
    (tmp_path / "json.py").write_text("class Net:\n    pass\n", encoding="utf-8")
    (tmp_path / "mine_b.py").write_text("1 / 0\n", encoding="utf-8")
    check_target("model", "mine_a.net.Net")
    with pytest.raises(ImportError, match=r"^json is none of"):
        locate("json.Net")
    with pytest.raises(
        UsageError, match=r"^model\._target_='mine_b\.Net' cannot be imported: ZeroDivisionError: .* zero\.$"
    ):
        check_target("model", "mine_b.Net")
    with pytest.raises(ImportError, match=r"No module named 'mine_a\.nothing'"):
        locate("mine_a.nothing.Net")
