"""sbom.py BOM PROGRAM...: the document is CycloneDX, and has the crates that the list inside of each program has."""

import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib
import zlib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
if fault:
    sys.exit(f"not CycloneDX 1.5: {fault}")
bom = json.loads(text)
if str(pathlib.Path.home()) in text or "file://" in text:
    sys.exit("it names a path of this machine")

own = bom["metadata"]["component"]
crates = {(one["name"], one["version"]) for one in bom["components"] if not one["purl"].startswith("pkg:generic/")}
with open("Cargo.lock", "rb") as file:
    locked = {(one["name"], one["version"]): one.get("checksum") for one in tomllib.load(file)["package"]}
for one in bom["components"]:
    if (one["name"], one["version"]) in crates:
        if locked.get((one["name"], one["version"])) != one["hashes"][0]["content"]:
            sys.exit(f"{one['name']} {one['version']} has another checksum in Cargo.lock")

for program in sys.argv[2:]:
    with tempfile.NamedTemporaryFile() as section:
        subprocess.run(["objcopy", "--dump-section", f".dep-v0={section.name}", program, "/dev/null"], check=True)
        listed = json.loads(zlib.decompress(section.read()))["packages"]
    inside = {(one["name"], one["version"]) for one in listed}
    if (own["name"], own["version"]) not in inside:
        sys.exit(f"{program} does not name itself")
    inside.remove((own["name"], own["version"]))
    if inside != crates:
        sys.exit(f"{program}: only inside {sorted(inside - crates)}, only in the document {sorted(crates - inside)}")
    said = json.loads(subprocess.run([program, "--version", "--verbose", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    sqlite = next(one for one in bom["components"] if one["name"] == "sqlite")
    if said["sqlite"] != sqlite["version"]:
        sys.exit(f"{program} has SQLite {said['sqlite']}")
print(f"    {len(crates)} crates in the document and in {len(sys.argv) - 2} programs")
