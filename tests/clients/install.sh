#!/bin/sh
# Installs Twilio's own clients, at pinned versions, into DIR: what the story of the foreign clients is run with.
# Needs python3 with pip, node and npm. Then: SMSOTP_TEST_CLIENTS=DIR cargo test --test it sandbox
set -eu

if [ $# -ne 1 ]; then
    echo "usage: tests/clients/install.sh DIR" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)

python3 -m pip install --quiet --disable-pip-version-check --upgrade --target "$dir/python" twilio==9.13.0
npm install --silent --no-fund --no-audit --prefix "$dir" twilio@6.2.0 twilio-cli@6.2.4
