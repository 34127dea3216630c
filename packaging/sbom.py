"""sbom.py BOM VERSION PROGRAM: settles the bill of materials of cargo-cyclonedx, on standard output.

Paths of this machine become package URLs, so that it is the same wherever it is made; and what crates carry inside of them and
others watch for weaknesses is added: SQLite and the numbering plans of libphonenumber, in the versions that the program names.
"""

import json
import re
import subprocess
import sys

path, version, program = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    text = file.read()
own = f"pkg:cargo/smsotp@{version}"
text = re.sub(r"path\+file://[^\"#]*#smsotp@[^\" ]*", own, text)
bom = json.loads(text)

component = bom["metadata"]["component"]
component["purl"] = own
# The library and the program are one thing here.
component.pop("components", None)
# Cargo names the triple that was asked for; the crates are the same for both of ours, which the step has compared.
bom["metadata"].pop("properties", None)

said = json.loads(subprocess.run([program, "--version", "--verbose", "--json"], check=True, stdout=subprocess.PIPE).stdout)
refs = {one["name"]: one["bom-ref"] for one in bom["components"]}
for crate, name, number, licence, address in [
    ("libsqlite3-sys", "sqlite", said["sqlite"], {"id": "blessing"}, "https://sqlite.org"),
    ("rlibphonenumber", "libphonenumber", said["numbering_plans"]["libphonenumber"], {"id": "Apache-2.0"}, "https://github.com/google/libphonenumber"),
]:
    ref = f"pkg:generic/{name}@{number}"
    bom["components"].append({
        "type": "library", "bom-ref": ref, "name": name, "version": number, "scope": "required",
        "licenses": [{"license": licence}], "purl": ref, "externalReferences": [{"type": "website", "url": address}],
        **({"cpe": f"cpe:2.3:a:sqlite:sqlite:{number}:*:*:*:*:*:*:*"} if name == "sqlite" else {}),
    })
    bom["dependencies"].append({"ref": ref})
    next(one for one in bom["dependencies"] if one["ref"] == refs[crate]).setdefault("dependsOn", []).append(ref)

json.dump(bom, sys.stdout, indent=2, ensure_ascii=False)
print()
