# shellcheck shell=bash
# What bao.sh and curl.sh share: a line for each step, and an end at the first wrong answer.
# Sourced, never run. The caller sets `set -u`.

DEK=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
SECOND=c2Vjb25k
TOO_OLD="ciphertext or signature version is disallowed by policy (too old)"
NO_DELETION="deletion is not allowed for this key"
current=start

step() {
    current=$1
    printf '%s\n' "$1"
}

# fail EXPECTED GOT
fail() {
    printf 'FAILED %s: expected %s, got %s\n' "$current" "$1" "$2"
    exit 1
}

# is EXPECTED GOT
is() { [[ $2 == "$1" ]] || fail "$1" "$2"; }

# begins PREFIX GOT
begins() { [[ $2 == "$1"* ]] || fail "$1..." "$2"; }

# has PART GOT
has() { [[ $2 == *"$1"* ]] || fail "something with $1" "$2"; }

# without PART GOT
without() { [[ $2 != *"$1"* ]] || fail "nothing with $1" "$2"; }

# Ciphertexts differ each time: what must be equal is the rest.
mask() { sed -E 's/vault:v([0-9]+):[A-Za-z0-9+\/=]+/C\1/g'; }

ciphertexts() { grep -oE 'vault:v[0-9]+:[A-Za-z0-9+/=]+' <<<"$1"; }
