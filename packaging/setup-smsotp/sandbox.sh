#!/usr/bin/env bash
# Starts the sandbox and exports to the steps that follow how it is reached. It ends with the job.
set -euo pipefail
at=$(mktemp -d "$RUNNER_TEMP/smsotp-sandbox.XXXXXX")
smsotp sandbox --detach --quiet --listen 127.0.0.1:0 --write-env "$at/sandbox.env" --log "$at/sandbox.log" >/dev/null
grep -E '^[A-Z_]+=' "$at/sandbox.env" >> "$GITHUB_ENV"
# A database of the job's own, which needs no settings of the runner's user.
echo "SMSOTP_DATABASE=$at/smsotp.db" >> "$GITHUB_ENV"
echo "log=$at/sandbox.log" >> "$GITHUB_OUTPUT"
