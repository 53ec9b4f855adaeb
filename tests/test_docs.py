"""The documents' links lead to what is there: files, folders and headings."""

import re
from pathlib import Path

import pytest

from edgeinfer.cli.operator_table import as_markdown

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    path
    for name in ("*", "docs/*", "examples/*", ".github/**/*")
    for path in ROOT.glob(f"{name}.md")
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(document: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    dead = []
    for name, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if name.startswith(("http:", "https:", "mailto:")):
            continue
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{name}#{anchor}" if anchor else name)
    assert dead == []


def test_code_names_documents_that_exist():
    folders = ("edgeinfer", "converters", "quant", "cython_kernels", "hdl", "tests", "benchmarks")
    files = [f for name in folders for f in (ROOT / name).rglob("*.py") if not f.is_symlink()]
    named = {m for f in files for m in re.findall(r"docs/[\w-]+\.md", f.read_text("utf-8"))}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_table_of_operators_is_what_the_stages_say():
    written = (ROOT / "docs/operators.md").read_text(encoding="utf-8")
    assert written == as_markdown(), "edgeinfer operators --markdown > docs/operators.md"


OF_THE_CORE = ("arithmetic", "graph", "meaning", "files", "pools", "data", "metrics", "runtime")


@pytest.mark.parametrize(
    ("document", "folders"),
    [
        ("architecture", [*(f"edgeinfer/{name}" for name in OF_THE_CORE), "converters"]),
        ("architecture", ["hdl", "hdl/compiler"]),
        ("quantization", ["quant", "quant/rounding", "quant/rules"]),
        ("explain", ["quant/explanation"]),
    ],
)
def test_a_document_has_a_place_for_every_module(document, folders):
    named = set(re.findall(r"\w+\.py", (ROOT / f"docs/{document}.md").read_text("utf-8")))
    modules = {path.name for name in folders for path in ROOT.glob(f"{name}/*.py")}
    assert len(modules) > 10
    assert sorted(modules - named - {"__init__.py"}) == []
