"""The pages of the documentation as blocks of code, each of one kind: what a test does with it."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# made of the code by docs/_ext; their blocks show usage and the words of files
GENERATED = {f"reference/{name}.md" for name in ("configuration", "options", "presets", "commands", "python")}
FENCE = re.compile(r"^(?:<!-- not run: (?P<why>[^>]+) -->\n)?```(?P<language>[^\n`]*)\n(?P<body>.*?)^```$", re.M | re.S)
LANGUAGES = {"bash", "python", "console", "text", "yaml", "{toctree}", "{layers}"}
# pages that a reader follows from above to below, in one folder; the tutorial of components has tests of its own
FOLLOWED = ("start.md", "tutorials/table.md", "tutorials/paper.md", "tutorials/cluster.md", "tutorials/certify.md")
COMPONENT = DOCS / "tutorials" / "component.md"


@dataclass(frozen=True)
class Block:
    """A block of a page; `why` says what it needs that no test has, where it is not run."""

    page: Path
    language: str
    body: str
    why: str

    @property
    def name(self) -> str:
        """Where it stands, for the id of a test."""
        return f"{self.page.relative_to(ROOT)}:{self.body.strip().splitlines()[0][:40] if self.body.strip() else ''}"

    @property
    def lines(self) -> list[str]:
        """The commands of a block of bash, continued lines as one."""
        return [line for line in self.body.replace("\\\n", " ").splitlines() if line.strip()]


def pages() -> list[Path]:
    """README and all pages that are written by hand."""
    written = [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).as_posix() not in GENERATED]
    return [ROOT / "README.md", *(page for page in written if "_build" not in page.parts)]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    return [Block(page, one["language"], one["body"], one["why"] or "") for one in FENCE.finditer(text)]


def all_blocks(language: str) -> list[Block]:
    """The blocks in this language of all pages."""
    return [block for page in pages() for block in blocks_of(page) if block.language == language]


def words(line: str) -> list[str]:
    """The words of a command, as a shell splits them, without its comment and what follows > or |."""
    split = shlex.split(line, comments=True)
    ends = [place for place, word in enumerate(split) if word in (">", "|")]
    return split[: ends[0]] if ends else split


def console_parts(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a captured session, with the lines that it prints."""
    parts: list[tuple[str, list[str]]] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            parts.append((line.removeprefix("$ "), []))
        else:
            parts[-1][1].append(line)
    return parts


def looks_like(shown: list[str], printed: list[str]) -> bool:
    """Tell whether lines are those of a page: numbers may differ in value, and `...` stands for any lines."""
    pattern = r"\n".join(r"(?:.*\n)*?.*" if line == "..." else masked(line) for line in shown)
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed), re.DOTALL) is not None


def masked(line: str) -> str:
    """A regular expression for a line with any decimals and times of runs, and in tables any numbers and widths."""
    line = re.sub(r"\d{4}-\d\d-\d\d_[\d-]+_(\w+?)_[0-9a-f]{8}\b", r"RUN\1", line.rstrip())
    escaped = re.escape(line)
    if line and line[0] in "┏┡└┃│":
        escaped = re.sub(r"(\\ )+", r" +", re.sub(r"[━─]+", "[━─]+", escaped))
        return re.sub(r"\d[\d.,]*(\\\.\d+)?", r"[-\\d.,e+]+", escaped.replace("\\.", "."))
    escaped = re.sub(r"\d+\\\.\d+(e\\-\d+)?", r"[-\\d.e+]+", escaped)
    return escaped.replace("RUN", r"\d{4}-\d\d-\d\d_[\d-]+_") + (r"_[0-9a-f]{8}" if "RUN" in line else "")
