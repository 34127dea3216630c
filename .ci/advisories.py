"""Looks for known weaknesses of the crates in Cargo.lock where cargo-deny is not installed: the RustSec advisory database.

Exit code 1: one of them has a weakness. Exit code 3: something was not checked, since there is no database to ask, or only a copy that is
older than a crate. With --copy the part of the database that is about our crates is written to .ci/advisories, with its day: the copy
that is asked where the database cannot be reached. `packaging/release` does so.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

SOURCE = os.environ.get("SMSOTP_ADVISORY_SOURCE") or "https://github.com/RustSec/advisory-db"
COPY = pathlib.Path(".ci/advisories")


def version(text):
    """A version as what sorts like it (semver.org, section 11)."""
    numbers, _, pre = text.split("+")[0].partition("-")
    parts = [int(part) for part in numbers.split(".")]
    marks = [(0, int(mark), "") if mark.isdigit() else (1, 0, mark) for mark in pre.split(".")] if pre else []
    return (*(parts + [0, 0])[:3], not pre, marks)


def fits(given, requirement):
    """Whether a version fulfils a requirement as Cargo writes them."""
    return all(fits_one(given, part.strip()) for part in requirement.split(","))


def fits_one(given, part):
    sign, text = re.fullmatch(r"(>=|<=|>|<|=|\^|~)?\s*([0-9A-Za-z.+-]+)", part).groups()
    low, at = version(text), version(given)
    named = len(text.split("-")[0].split(".")[:3])
    # The first version that is too new, where the number `place` of this one is the last that may stay.
    after = lambda place: (*low[:place], low[place] + 1, *[0] * (2 - place), False, [])
    match sign or "^":
        case ">=": return at >= low
        case "<=": return at <= low
        case ">": return at > low
        case "<": return at < low
        case "=": return low <= at < after(named - 1) if named < 3 else at == low
        case "~": return low <= at < after(min(named, 2) - 1)
        case "^":
            first = next((place for place in range(named) if low[place] > 0), named - 1)
            return low <= at < after(first)


assert fits("1.2.3", "^1.2.0") and not fits("2.0.0", "^1.2.0") and not fits("0.3.0", "^0.2.9") and fits("0.2.10", "0.2.9")
assert fits("1.5.0", ">= 1.0, < 2") and not fits("1.0.0-rc.1", ">= 1.0.0") and fits("1.2.9", "~1.2") and not fits("1.3.0", "~1.2")
assert version("1.0.0-alpha.2") < version("1.0.0-alpha.10") < version("1.0.0") and fits("0.0.3", "^0.0.3") and not fits("0.0.4", "^0.0.3")


def database():
    """Where the advisories are, and what is to be said of that: the named place, a fresh clone, an earlier one of cargo's tools or of
    this program, or the copy in the tree. None: nowhere."""
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "smsotp-ci" / "advisory-db"
    named = os.environ.get("SMSOTP_ADVISORY_DB")
    if named:
        return pathlib.Path(named), f"the database in {named}"
    git = ["git", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=20"]
    fetch = [*git, "-C", cache, "pull", "--quiet"] if cache.is_dir() else [*git, "clone", "--quiet", "--depth", "1", SOURCE, cache]
    try:
        fetched = subprocess.run(fetch, timeout=300, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        fetched = False
    if fetched:
        return cache, "the database of today"
    for place in [cache, home / "advisory-db", *(home / "advisory-dbs").glob("*")]:
        if (place / "crates").is_dir():
            return place, f"NOT THE NEWEST DATABASE, which cannot be fetched: that of {day(place)}"
    if (COPY / "DATE").is_file():
        return COPY, f"NOT THE NEWEST DATABASE, which cannot be fetched: the copy of {day(COPY)} in {COPY}"
    return None, ""


def day(place):
    """The day of the newest advisory that a clone or a copy can have."""
    if (place / "DATE").is_file():
        return (place / "DATE").read_text(encoding="utf-8").split()[0]
    asked = subprocess.run(["git", "-c", "safe.directory=*", "-C", place, "log", "-1", "--format=%cs"], stdout=subprocess.PIPE, text=True)
    return asked.stdout.strip() or "an unknown day"


def copy(place, names):
    """Keeps what the database says of these crates, for machines that cannot reach it. The names are kept too: of others it says nothing."""
    shutil.rmtree(COPY, ignore_errors=True)
    for name in names:
        if (place / "crates" / name).is_dir():
            shutil.copytree(place / "crates" / name, COPY / "crates" / name)
    (COPY / "crates").mkdir(parents=True, exist_ok=True)
    (COPY / "DATE").write_text(f"{day(place)}\n", encoding="utf-8")
    (COPY / "NAMES").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


with open("Cargo.lock", "rb") as file:
    packages = [package for package in tomllib.load(file)["package"] if package.get("source", "").startswith("registry+")]
names = sorted({package["name"] for package in packages})

place, which = database()
if place is None or not (place / "crates").is_dir():
    print(f"no advisory database: {SOURCE} cannot be fetched, SMSOTP_ADVISORY_DB names no clone of it, and {COPY} holds no copy", file=sys.stderr)
    sys.exit(3)
if sys.argv[1:] == ["--copy"]:
    if place == COPY:
        sys.exit("error: there is only the copy to copy")
    copy(place, names)
    print(f"{COPY}: what {which} says of {len(names)} crates")
    sys.exit()

weak, looked_at = [], 0
for package in packages:
    for path in sorted((place / "crates" / package["name"]).glob("*.md")):
        found = re.match(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        advisory = tomllib.loads(found[1])
        looked_at += 1
        about, versions = advisory["advisory"], advisory.get("versions", {})
        safe = versions.get("patched", []) + versions.get("unaffected", [])
        if "withdrawn" in about or any(fits(package["version"], requirement) for requirement in safe):
            continue
        line = f"{about['id']}: {package['name']} {package['version']} ({about.get('informational', 'vulnerability')})"
        # What is unmaintained is no weakness yet; what is unsound is one.
        if about.get("informational") in (None, "unsound"):
            weak.append(line)
        else:
            print(f"warning: {line}")

print(f"{len(packages)} packages held against {looked_at} advisories of theirs in {which}")
if weak:
    sys.exit("\n".join(weak))
if place == COPY:
    unknown = sorted(set(names) - set((COPY / "NAMES").read_text(encoding="utf-8").split()))
    if unknown:
        print(f"the copy is older than these crates and says nothing of them: {', '.join(unknown)}", file=sys.stderr)
        sys.exit(3)
