"""assemble.py FOLDER ADDRESS: puts the pages of the site together for mdBook.

The pages are those of the repository, as they are. Only their links change: to pages that the site has, they lead within it; to other
files of the repository, to ADDRESS, where it is published at this version. A link to nothing is an error.
"""

import os
import pathlib
import posixpath
import re
import shutil
import sys

target, address = pathlib.Path(sys.argv[1]), sys.argv[2]
root = pathlib.Path.cwd()

# Where a file of the repository is in the site. Pages of the root lie beside those of docs.
places = {path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*") if path.is_file()}
places |= {name: name for name in ["SECURITY.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "NOTICE", "openapi.json"]}

contents = (root / "docs/SUMMARY.md").read_text(encoding="utf-8")
for page in places:
    if page.endswith(".md") and page != "docs/SUMMARY.md" and f"]({posixpath.relpath(page, 'docs')})" not in contents:
        sys.exit(f"error: docs/SUMMARY.md does not name {page}")


def moved(page, link):
    """A link of a page as the site has it."""
    if re.match(r"[a-z]+:", link) or link.startswith("#"):
        return link
    file, mark, heading = link.partition("#")
    named = posixpath.normpath(posixpath.join(posixpath.dirname(page), file))
    if named in places:
        return posixpath.relpath(places[named], posixpath.dirname(places[page]) or ".") + mark + heading
    there = root / named
    if named.startswith("..") or not there.exists():
        sys.exit(f"error: {page}: {link} leads to nothing")
    return f"{address}/{'tree' if there.is_dir() else 'blob'}/{os.environ['at']}/{named}{mark}{heading}"


def rewritten(page, text):
    """The page with its links moved. What stands in code stays."""
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    for n in range(0, len(parts), 2):
        # The text of a link may hold code, which is why only its end is looked for.
        parts[n] = re.sub(r"\]\(([^()\s]+)\)", lambda found: f"]({moved(page, found[1])})", parts[n])
    return "".join(parts)


for page, place in places.items():
    to = target / place
    to.parent.mkdir(parents=True, exist_ok=True)
    if page.endswith(".md"):
        to.write_text(rewritten(page, (root / page).read_text(encoding="utf-8")), encoding="utf-8")
    else:
        shutil.copy(root / page, to)
