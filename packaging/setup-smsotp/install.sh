#!/usr/bin/env bash
# Downloads smsotp for this runner, compares it with its checksum, and puts it on the path of the steps that follow.
# VERSION, SHA256 and DOWNLOADS are the inputs of the action; what is empty is taken from the manifest that the action came with.
set -euo pipefail
fail() { echo "::error::smsotp: $*"; exit 1; }
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
said() { sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" "$home/Cargo.toml" | head -n 1; }

version=${VERSION:-$(said version)}
version=${version#v}
downloads=${DOWNLOADS:-$(said repository)/releases/download}
case $RUNNER_OS-$RUNNER_ARCH in
    Linux-X64) file=smsotp-$version-x86_64-unknown-linux-musl.tar.gz ;;
    macOS-ARM64) file=smsotp-$version-aarch64-apple-darwin.tar.gz ;;
    macOS-X64) file=smsotp-$version-x86_64-apple-darwin.tar.gz ;;
    Windows-X64) file=smsotp-$version-x86_64-pc-windows-msvc.zip ;;
    *) fail "no program is built for $RUNNER_OS on $RUNNER_ARCH: cargo install smsotp builds it" ;;
esac

to=$(mktemp -d "$RUNNER_TEMP/smsotp.XXXXXX")
get() {
    curl --proto '=https,file' --proto-redir '=https' --fail --silent --show-error --location --retry 3 \
        --output "$to/$1" "$downloads/v$version/$1" || fail "$downloads/v$version/$1 cannot be downloaded"
}
sum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }

# The list of checksums comes from where the archive comes from: only its signature says that it is ours.
signed_sum() {
    local key=$home/packaging/minisign.pub
    [ -e "$key" ] || fail "this version of the action has no key to check signatures with: give the input sha256"
    get SHA256SUMS
    get SHA256SUMS.minisig
    "$home/packaging/setup-smsotp/signature.sh" "$key" "$to/SHA256SUMS" >&2 || fail "SHA256SUMS is not signed by the key of this action"
    awk -v file="$file" '$2 == file { print $1 }' "$to/SHA256SUMS"
}

if [ -n "${SHA256:-}" ]; then expected=$SHA256; else expected=$(signed_sum) || { echo "$expected"; exit 1; }; fi
[[ $expected =~ ^[0-9a-fA-F]{64}$ ]] || fail "no checksum of $file: '$expected'"
get "$file"
found=$(sum "$to/$file")
[ "$found" = "$(tr A-F a-f <<<"$expected")" ] || fail "$file has the checksum $found and not $expected: it was not unpacked"

case $file in
    *.zip) (cd "$to" && unzip -q "$file") ;;
    *) tar -xzf "$to/$file" -C "$to" ;;
esac
folder=$to/${file%.tar.gz}
folder=${folder%.zip}
PATH="$folder:$PATH" smsotp --version
echo "$folder" >> "$GITHUB_PATH"
echo "version=$version" >> "$GITHUB_OUTPUT"
