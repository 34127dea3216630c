"""manifests.py FOLDER VERSION REPOSITORY HOMEPAGE: writes what other programs install a release by, from the checksums in FOLDER.

In a template `@url NAME@`, `@sha256 NAME@` and `@folder NAME@` stand for the archive of that name (its target and ending). A manifest is
only made where every archive of its own is there: none may name a file that does not exist. Exit code 3: some were left out.
"""

import pathlib
import re
import sys

folder, version, repository, homepage = pathlib.Path(sys.argv[1]), *sys.argv[2:]
sums = dict(line.split("  ", 1)[::-1] for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
words = {"version": version, "repository": repository, "homepage": homepage}
left_out = []

for template in sorted(pathlib.Path("packaging").glob("*/*.in")):
    missing = set()

    def value(found):
        what, _, archive = found[1].partition(" ")
        if not archive:
            return words[what]
        name = f"smsotp-{version}-{archive}"
        if name not in sums:
            missing.add(name)
            return ""
        return {
            "url": f"{repository}/releases/download/v{version}/{name}",
            "sha256": sums[name],
            "folder": re.sub(r"\.(tar\.gz|zip)$", "", name),
        }[what]

    text = re.sub(r"@([a-z0-9]+(?: [a-z0-9._-]+)?)@", value, template.read_text(encoding="utf-8"))
    if missing:
        left_out.append(f"{template.stem} needs {', '.join(sorted(missing))}")
        (folder / template.stem).unlink(missing_ok=True)
    else:
        (folder / template.stem).write_text(text, encoding="utf-8")
        print(f"    {template.stem}")

if left_out:
    print("NOT HERE: " + "; ".join(left_out))
    sys.exit(3)
