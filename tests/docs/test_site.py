"""The documentation site: it is built without a network and without a warning, and asks for nothing from elsewhere.

`tox -e docs` runs this file; where Zensical is not installed it is skipped.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).parents[2]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data", "embed": "src"}
"""Elements that load something, and the attribute that says what; `link` is asked about apart."""
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
DEAD = "http://127.0.0.1:9"
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("zensical") or not importlib.util.find_spec("mkdocstrings"),
    reason="zensical and mkdocstrings-python are not installed: tox -e docs has them",
)


class Page(HTMLParser):
    """What a page loads, where it links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.loads, self.links, self.anchors, self.styles = path, [], [], set(), []  # type: ignore[var-annotated]
        self._in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        self._in_style = tag == "style"
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in ("next", "prev", "canonical"):
            self.loads.append(found.get("href", ""))
        if tag in LOADS and LOADS[tag] in found:
            self.loads.append(found[LOADS[tag]])
        self.styles.append(found.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly from a copy of what it is made of, while every way to a network leads nowhere."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "zensical.toml", folder)
    for name in ("docs", "fewshot_bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **proxies}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "docs"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, by its file."""
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_built(site: Path, pages: dict[Path, Page]) -> None:
    """One for each page of docs, and the one for what is not found."""
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in pages} == sources | {Path("404.html")}


def test_no_script_style_font_or_picture_comes_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """Neither in the pages nor in the styles that they load."""
    for path, page in pages.items():
        assert [one for one in page.loads if ELSEWHERE.match(one)] == [], path
        assert not outside("\n".join(page.styles)), path
    for path in site.rglob("*.css"):
        assert not outside(path.read_text(encoding="utf-8")), path


def outside(style: str) -> list[str]:
    """What a style loads from elsewhere."""
    asked = re.findall(r"(?:url\(|@import\s)\s*[\"']?([^\"')]+)", style)
    return [one for one in asked if ELSEWHERE.match(one)]


def test_no_link_or_picture_leads_nowhere(pages: dict[Path, Page]) -> None:
    """Each that is relative leads to a file of the site, and to an anchor that is there."""
    lost = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            target, anchor = urldefrag(link)
            if ELSEWHERE.match(link) or link.startswith(("mailto:", "data:")) or path.name == "404.html":
                continue
            goal = (path.parent / unquote(target)).resolve() if target else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.is_file() or (anchor and goal.suffix == ".html" and unquote(anchor) not in pages[goal].anchors):
                lost.append(f"{path.name}: {link}")
    assert lost == []


def test_every_public_name_has_its_documentation(pages: dict[Path, Page]) -> None:
    """An entry of each name of `fewshot_bench.__all__` was made, so that a link can lead to it."""
    text = (ROOT / "fewshot_bench" / "__init__.py").read_text(encoding="utf-8")
    names = re.findall(r'^    "(\w+)",$', text.partition("__all__ = [")[2], re.MULTILINE)
    anchors = set().union(*(page.anchors for page in pages.values()))
    assert [name for name in names if f"fewshot_bench.{name}" not in anchors] == []


@pytest.fixture
def asked(site: Path) -> Iterator[list[str]]:
    """What a browser asks for while it opens some of the pages, each with room and on a telephone."""
    if CHROMIUM is None:
        assert os.environ.get("FSBENCH_REQUIRE_BROWSER") != "1", "FSBENCH_REQUIRE_BROWSER is set: install chromium"
        pytest.skip("no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    urls: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        for width in (1280, 400):
            tab = browser.new_context(offline=True, viewport={"width": width, "height": 900}).new_page()
            tab.on("request", lambda request: urls.append(request.url))
            for name in ("index", "design", "how-to/own-method", "reference/api/methods"):
                tab.goto((site / f"{name}.html").as_uri())
                wide = tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")
                assert not wide, f"{name} is wider than a screen of {width} pixels"
        browser.close()
    yield urls


def test_a_browser_asks_for_the_site_alone(asked: list[str]) -> None:
    """No request leaves the folder."""
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
