#!/bin/sh
# Drives a running server with requests made from its own OpenAPI document: no 5xx, no undocumented answer.
# Installs schemathesis into DIR (a virtual environment) unless it is there. Needs python3 with venv and pip.
# usage: tests/clients/schemathesis.sh DIR [SMSOTP]     SMSOTP: the binary [default: target/debug/smsotp]
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: tests/clients/schemathesis.sh DIR [SMSOTP]" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
smsotp=${2:-$root/target/debug/smsotp}
[ -x "$1/bin/schemathesis" ] || {
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
}
tool=$(cd "$1" && pwd)/bin/schemathesis

work=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; "$smsotp" sandbox stop --quiet --env-file env || true; wait; rm -rf "$work"' EXIT
server=''
cd "$work"
export HOME="$work" XDG_CONFIG_HOME="$work/config" XDG_DATA_HOME="$work/data"

wait_for() {
    tries=100
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "gave up on: $*" >&2; cat serve.log sandbox.log >&2; exit 1; }
        sleep 0.1
    done
}

"$smsotp" sandbox --detach --quiet --listen 127.0.0.1:0 --write-env env --log sandbox.log
printf '[limits]\neverything = "10000/1h"\nuser = "10000/1h"\nphone = "10000/1h"\nuser_phones = "10000/1d"\ncooldown = ["1s"]\nguesses_per_phone = "10000/1d"\nguesses_in_a_row = 10000\n' >smsotp.toml
set -- --env-file env --config smsotp.toml
token=$("$smsotp" token create --service --scope send,verify,test,read --rate 10000 -o tsv "$@" 2>/dev/null | cut -f2)
"$smsotp" serve --listen 127.0.0.1:0 --public-url http://127.0.0.1 "$@" 2>serve.log &
server=$!
wait_for grep -q 'answers on' serve.log
url=$(sed -n 's/.*answers on \(http[^ ]*[0-9]\)\. .*/\1/p' serve.log)

"$tool" run "$url/openapi.json" --url "$url" -H "Authorization: Bearer $token" \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-60}" --workers 1 --generation-deterministic \
    --checks all --exclude-checks positive_data_acceptance \
    --request-timeout 30 --no-color
if grep -q '"bug"\|a bug in smsotp' serve.log; then
    grep '"bug"\|a bug in smsotp' serve.log >&2
    exit 1
fi
