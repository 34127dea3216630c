# Sourced by the drivers, by every step and by every test: where things are, and what several of them do.
set -euo pipefail
export LC_ALL=C.UTF-8 TZ=UTC
umask 022
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# The tree may belong to another user than the one who runs this.
git() { command git -c safe.directory='*' "$@"; }

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# Where smsotp is published: the manifest is the one place that says it.
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)
homepage=$(sed -n 's/^homepage = "\(.*\)"$/\1/p' Cargo.toml)

# The commit, and its time as the time of everything that is packed. A tree without git has to be given both.
if [ -z "${SMSOTP_COMMIT:-}" ] && [ -e .git ]; then
    SMSOTP_COMMIT=$(git rev-parse HEAD)
    [ -z "$(git status --porcelain)" ] || SMSOTP_COMMIT+=-modified
fi
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && [ -e .git ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
fi
export SMSOTP_COMMIT="${SMSOTP_COMMIT:?no git here: set it to the commit that is built}"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:?no git here: set it to the time of the commit}"

# What is built (`dist`, or a profile that is quicker to build), where results go, and where steps keep what they hand to each other.
export profile="${profile:-dist}"
export dist="${dist:-$root/dist}"
export work="${work:-$root/target/packaging}"
# The files of every package, as they lie below / or below the folder of an archive. Steps before 20 may add to it.
export stage="$work/stage"
# Programs of the registry that steps use, built once.
export tools="${SMSOTP_PACKAGING_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/smsotp-packaging}"
export SMSOTP_PROFILE="$profile"
export PATH="$tools/bin:$PATH:/usr/sbin:/sbin"

musl=x86_64-unknown-linux-musl
gnu=x86_64-unknown-linux-gnu

say() { echo "    $*"; }
fail() { echo "error: $*" >&2; exit 1; }
# This cannot be made or shown on this machine: the driver's last line repeats it.
cannot() { echo "NOT HERE: $*"; exit 3; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need PROGRAM=PACKAGE...: installs the Debian packages of programs that are missing.
need() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || cannot "${missing[*]} missing, and no apt-get to install from"
    say "installing ${missing[*]}"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# tool CRATE VERSION: a program of the registry, built once into $tools, without optimisation: building them takes longer than what they do.
tool() {
    [ -e "$tools/.crates.toml" ] && grep -q "^\"$1 $2 " "$tools/.crates.toml" && return 0
    say "building $1 $2"
    cargo install --quiet --locked --debug --root "$tools" --target-dir "$work/tools" --version "=$2" "$1"
}

# pack ARCHIVE FOLDER [NAME...]: a .tar.gz that only depends on what is in it.
pack() {
    local archive=$1 folder=$2
    shift 2
    [ $# -gt 0 ] || set -- .
    tar --create --directory="$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --format=gnu "$@" | gzip --no-name --best > "$archive"
}

# Sets all times below a folder to that of the commit.
settle_times() { find "$@" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

# run_steps FOLDER [NAME...]: runs the files of a folder in the order of their names, or those that are named (with or without
# the number). Adds what cannot be had here to `missing`.
missing=()
run_steps() {
    local folder=$1 step name begun status wanted
    shift
    for step in "$folder"/[0-9][0-9]-*; do
        [ -x "$step" ] || continue
        name=$(basename "$step")
        if [ $# -gt 0 ]; then
            for wanted in "$@" ""; do
                [ "$wanted" != "$name" ] && [ "$wanted" != "${name#*-}" ] || break
            done
            [ -n "$wanted" ] || continue
        fi
        begun=$SECONDS status=0
        echo "--- $name"
        "$step" 2>&1 </dev/null | tee "$work/last-step.txt" || status=${PIPESTATUS[0]}
        case $status in
            0) echo "--- $name: ok after $((SECONDS - begun)) s" ;;
            3) missing+=("$name: $(sed -n 's/^NOT HERE: //p' "$work/last-step.txt" | tail -n 1)") ;;
            *) fail "$name failed (exit code $status)" ;;
        esac
    done
}

# tree FOLDER: the files of the distributions' packages as they lie below /.
tree() {
    local to=$1 page
    rm -rf "$to"
    install -D -m 755 "$work/bin/$gnu/smsotp" "$to/usr/bin/smsotp"
    mkdir -p "$to"/usr/share/{man/man1,doc/smsotp}
    cp -r "$stage/doc/." "$to/usr/share/doc/smsotp/"
    rm "$to/usr/share/doc/smsotp/.env.example"
    for page in "$stage"/man/*.1; do gzip --no-name --best --stdout "$page" > "$to/usr/share/man/man1/${page##*/}.gz"; done
    install -D -m 644 "$stage/completions/smsotp.bash" "$to/usr/share/bash-completion/completions/smsotp"
    install -D -m 644 "$stage/completions/smsotp.fish" "$to/usr/share/fish/vendor_completions.d/smsotp.fish"
    install -D -m 644 -t "$to/usr/lib/systemd/system" packaging/systemd/*
    install -D -m 640 -t "$to/etc/smsotp" packaging/etc/smsotp.toml .env.example
    chmod 750 "$to/etc/smsotp"
}

# with_setup SCRIPT: a maintainer's script with the functions that it shares with others in it.
with_setup() { sed -e '/^#SETUP#$/{r packaging/setup.sh' -e 'd}' "$1"; }

# python_with PACKAGE==VERSION...: the path of a Python that has these packages, made once in $tools.
python_with() {
    local folder
    folder=$tools/python-$(sha256sum <<<"$*" | cut -c 1-16)
    if [ ! -e "$folder/.ready" ]; then
        need python3=python3 >&2
        python3 -m venv "$folder" >&2 && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 || fail "no Python with $*"
        touch "$folder/.ready"
    fi
    echo "$folder/bin/python3"
}
