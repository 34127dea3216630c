#!/usr/bin/env bash
# signature.sh KEY FILE: whether FILE.minisig is a signature of FILE by minisign's KEY. By minisign where it is installed; elsewhere with
# what runners have: a signature of minisign's is one by Ed25519 over the BLAKE2b of the file (https://jedisct1.github.io/minisign/).
set -euo pipefail
key=$1 file=$2
if command -v minisign >/dev/null && [ -z "${WITHOUT_MINISIGN:-}" ]; then
    exec minisign -Vqm "$file" -p "$key"
fi
command -v b2sum >/dev/null && command -v openssl >/dev/null || { echo "neither minisign nor b2sum and openssl are installed" >&2; exit 1; }
at=$(mktemp -d)
trap 'rm -rf "$at"' EXIT
sed -n 2p "$key" | base64 -d > "$at/key"
sed -n 2p "$file.minisig" | base64 -d > "$at/signature"
bytes() { dd if="$1" bs=1 skip="$2" count="$3" status=none; }
# Two bytes say the algorithm, eight the key's number, and the rest is the key, 32 bytes, or the signature, 64.
[ "$(bytes "$at/signature" 0 2)" = ED ] && [ "$(bytes "$at/key" 0 2)" = Ed ] || { echo "not a signature of this kind" >&2; exit 1; }
cmp -s <(bytes "$at/signature" 2 8) <(bytes "$at/key" 2 8) || { echo "signed by another key" >&2; exit 1; }
# The key as openssl reads it: RFC 8410.
{ printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'; bytes "$at/key" 10 32; } > "$at/key.der"
bytes "$at/signature" 10 64 > "$at/raw"
printf "$(b2sum "$file" | cut -c 1-128 | sed 's/../\\x&/g')" > "$at/digest"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$at/key.der" -rawin -in "$at/digest" -sigfile "$at/raw" >/dev/null
