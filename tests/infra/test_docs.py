"""The pages of the documentation lead where they say, and name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.document import Document
from contracts.metrics import CATALOGUE
from tests.nursery import ROOT

PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/**/*.md"), *ROOT.glob("ansible/**/*.md")}
)

AWS = [
    *(ROOT / "docs" / "how-to" / f"{name}.md" for name in ("deploy-on-aws", "upgrade-on-aws", "tear-down-on-aws")),
    *(ROOT / "docs" / "how-to" / f"{name}.md" for name in ("rotate-secrets", "restore-the-store", "disaster-recovery")),
    ROOT / "docs" / "explanation" / "scaling.md",
]


_OF_POSTGRESQL = {"agent_id", "full_page_writes", "target_id"}


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of this page ends in."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def links(page: Path) -> list[str]:
    without_code = re.sub(r"`[^`\n]*`", "", prose(page))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), link
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), link


def _of_the_module() -> set[str]:
    module = ROOT / "infra" / "aws"
    variables, outputs = (module / "variables.tf").read_text(), (module / "outputs.tf").read_text()
    found = re.findall(r'^(?:variable|output) "(\w+)"', variables + outputs, re.MULTILINE)
    parts = re.findall(r"^    (\w+)\s+= (?:optional\()?(?:string|number|bool|list)", variables, re.MULTILINE)
    return {*found, *parts}


@pytest.mark.parametrize("page", AWS, ids=lambda page: page.name)
def test_pages_about_aws_name_variables_and_outputs_that_there_are(page: Path) -> None:
    known = _of_the_module() | set(Document.model_fields) | set(CATALOGUE) | _OF_POSTGRESQL
    named = set(re.findall(r"`(?:database\.|concurrency\.)?([a-z]+(?:_[a-z]+)+)(?: = [^`]*)?`", prose(page)))
    assert named - known == set()
