"""Runs the pipelines of docs/ci.md as the runners of GitHub and GitLab do, as far as the steps there need it.

runner.py github FOLDER DOWNLOADS [NAME=VALUE...]   the job of the page, with these inputs of the action besides
runner.py gitlab FOLDER DOWNLOADS SNIPPET SHELL     the job of the page, with what the snippet has to extend

FOLDER is an empty one for the job. The exit code is that of the step that failed.
"""

import os
import pathlib
import re
import subprocess
import sys

import yaml

kind, folder, downloads = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
root = pathlib.Path.cwd()
blocks = re.findall(r"^```yaml\n(.*?)^```", (root / "docs/ci.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
pages = [yaml.safe_load(block) for block in blocks]
# A runner has next to nothing in its environment; no setting of this machine's user reaches the job.
plain = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder / "home"), "LANG": "C.UTF-8"} | {
    name: os.environ[name] for name in ("WITHOUT_MINISIGN",) if name in os.environ
}
for name in ("home", "work", "temp"):
    (folder / name).mkdir(parents=True)


def github():
    job = next(page for page in pages if "jobs" in page)["jobs"]["sign-up"]
    environment = plain | {"RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_TEMP": str(folder / "temp"), "GITHUB_ACTIONS": "true"}
    for step in job["steps"]:
        if "uses" in step:
            given = step.get("with", {}) | {"downloads": downloads} | dict(one.split("=", 1) for one in sys.argv[4:])
            outputs = action(root / "packaging" / step["uses"].split("/packaging/")[1].split("@")[0], given, environment)
            print(f"outputs: {outputs}")
        else:
            run(step["run"], environment, "bash", "-e")


def action(place, given, environment):
    """A composite action: its inputs, its steps in turn, and its outputs."""
    described = yaml.safe_load((place / "action.yml").read_text(encoding="utf-8"))
    unknown = set(given) - set(described["inputs"])
    assert not unknown, f"no input {unknown}"
    words = {f"inputs.{name}": str(given.get(name, one.get("default", ""))) for name, one in described["inputs"].items()}
    filled = lambda text: re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: words.get(found[1], ""), text)
    for step in described["runs"]["steps"]:
        if "if" in step:
            name, wanted = re.fullmatch(r"([\w.-]+) == '(\w+)'", step["if"]).groups()
            if words[name] != wanted:
                continue
        own = {name: filled(value) for name, value in step.get("env", {}).items()} | {"GITHUB_ACTION_PATH": str(place)}
        assert step["shell"] == "bash"
        outputs = run(filled(step["run"]), environment, "bash", "--noprofile", "--norc", "-eo", "pipefail", own=own)
        words.update({f"steps.{step['id']}.outputs.{name}": value for name, value in outputs.items()})
    return {name: filled(one["value"]) for name, one in described["outputs"].items()}


def run(script, environment, *shell, own={}):
    """A step. What it writes to the runner's files changes the environment of the next ones."""
    files = {name: folder / name for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT")}
    for path in files.values():
        path.write_text("")
    text = folder / "step.sh"
    text.write_text(script)
    done = subprocess.run([*shell, text], cwd=folder / "work", env=environment | own | {name: str(path) for name, path in files.items()}, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)
    pairs = lambda name: dict(line.split("=", 1) for line in files[name].read_text().splitlines())
    environment |= pairs("GITHUB_ENV")
    for line in files["GITHUB_PATH"].read_text().splitlines():
        environment["PATH"] = f"{line}:{environment['PATH']}"
    return pairs("GITHUB_OUTPUT")


def gitlab():
    snippet, shell = sys.argv[4:]
    job = next(page for page in pages if "include" in page)["sign-up"]
    base = yaml.safe_load(pathlib.Path(snippet).read_text(encoding="utf-8"))[job["extends"]]
    variables = base["variables"] | {"SMSOTP_DOWNLOADS": downloads} | dict([os.environ["VARIABLE"].split("=", 1)] if "VARIABLE" in os.environ else [])
    # The runner runs both lists in one shell, which ends with the first command that fails.
    script = "set -e\n" + "\n".join(base["before_script"] + job["script"]) + "\n"
    done = subprocess.run([*shell.split(), "-c", script], cwd=folder / "work", env=plain | variables | {"TMPDIR": str(folder / "temp")}, stdin=subprocess.DEVNULL)
    sys.exit(done.returncode)


{"github": github, "gitlab": gitlab}[kind]()
