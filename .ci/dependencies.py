"""Holds the rules of deny.toml where cargo-deny is not installed: licences, banned crates, sources."""

import json
import re
import subprocess
import sys
import tomllib

with open("deny.toml", "rb") as file:
    rules = tomllib.load(file)

metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"],
        check=True, stdout=subprocess.PIPE,
    ).stdout
)
allowed = set(rules["licenses"]["allow"])
exceptions = {rule["crate"]: set(rule["allow"]) for rule in rules["licenses"].get("exceptions", [])}
banned = {rule["crate"] for rule in rules["bans"]["deny"]}


def holds(expression, accepted):
    """Whether an SPDX expression can be fulfilled with the accepted licences. `/` is an old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in accepted

    return either()


assert holds("(MIT OR GPL-3.0) AND Zlib", {"MIT", "Zlib"}) and not holds("MIT AND GPL-3.0", {"MIT"})

faults = []
for package in metadata["packages"]:
    name = f"{package['name']} {package['version']}"
    if package["name"] in banned:
        faults.append(f"{name} is banned by deny.toml")
    source = package["source"]
    if source is None and package["id"] not in metadata["workspace_members"]:
        faults.append(f"{name} comes from a path")
    if source is not None and not source.startswith("registry+"):
        faults.append(f"{name} comes from {source}")
    accepted = allowed | exceptions.get(package["name"], set())
    if not package["license"]:
        faults.append(f"{name} names no licence")
    elif not holds(package["license"], accepted):
        faults.append(f"{name} is licensed under {package['license']}")

for package in metadata["packages"]:
    if package["name"] == "smsotp":
        wild = [d["name"] for d in package["dependencies"] if d["req"] == "*"]
        faults.extend(f"the version of {name} is open" for name in wild)

print(f"{len(metadata['packages'])} packages looked at")
if faults:
    sys.exit("\n".join(faults))
