#!/bin/sh
# Installs what `benches/run serve` compares with, at pinned versions, into DIR: DIR/py (a virtual environment) and
# DIR/node. Needs python3 with venv, node and npm, and a compiler where better-sqlite3 has no binary for this machine.
# Then: SMSOTP_BENCH_PEERS=DIR benches/run serve
set -eu

if [ $# -ne 1 ]; then
    echo "usage: benches/peers/install.sh DIR" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)

python3 -m venv "$dir/py"
"$dir/py/bin/python" -m pip install --quiet --disable-pip-version-check \
    Django==5.2.19 gunicorn==27.0.1 djangorestframework==3.18.3 \
    django-phone-verify==3.3.0 django-phonenumber-field==9.0.0 phonenumberslite==9.0.42 twilio==9.13.0
mkdir -p "$dir/node"
npm install --silent --no-fund --no-audit --prefix "$dir/node" better-auth@1.7.25 better-sqlite3@12.11.1 twilio@6.2.0
