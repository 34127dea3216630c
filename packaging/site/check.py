"""check.py FOLDER: every link of the site leads to a page and a place on it, every page is reached from the first, and no page
loads anything from elsewhere."""

import html.parser
import pathlib
import re
import sys
import urllib.parse

site = pathlib.Path(sys.argv[1]).resolve()
faults = []


class Page(html.parser.HTMLParser):
    """What a page names and where it leads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("href"):
            self.loads.append(given["href"])


pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
reached = {}
for path, page in pages.items():
    reached[path] = set()
    for link in page.links + page.loads:
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            if link in page.loads:
                faults.append(f"{path.relative_to(site)} loads {link}")
            continue
        # The page of errors is shown at any address, which is why its links begin at the root.
        base = site if path.name == "404.html" else path.parent
        to = (base / urllib.parse.unquote(parts.path).lstrip("/")).resolve() if parts.path else path
        if to.is_dir():
            to /= "index.html"
        if not to.is_file() or site not in to.parents:
            faults.append(f"{path.relative_to(site)}: {link} leads to nothing")
        elif parts.fragment and to in pages and urllib.parse.unquote(parts.fragment) not in pages[to].ids:
            faults.append(f"{path.relative_to(site)}: {link} leads to no heading")
        elif link in page.links:
            reached[path].add(to)
for path in site.rglob("*.css"):
    for address in re.findall(r"url\(['\"]?([^)'\"]+)", path.read_text(encoding="utf-8")):
        if not address.startswith("data:") and not (path.parent / address).resolve().is_file():
            faults.append(f"{path.relative_to(site)} loads {address}")

# Some page has to lead to each; the table of contents, which is on every page, does.
found, open_ = set(), [site / "index.html", site / "toc.html"]
while open_:
    path = open_.pop()
    if path not in found and path in reached:
        found.add(path)
        open_.extend(reached[path])
faults.extend(f"nothing leads to {path.relative_to(site)}" for path in pages if path not in found and path.name != "404.html")

if faults:
    sys.exit("\n".join(faults))
print(f"    {len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")
