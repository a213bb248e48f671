#!/usr/bin/env bash
# The `bao` command line against a Transit server: bao.sh PATH_OF_BAO.
# VAULT_ADDR, VAULT_CACERT, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY say where and who, TRANSIT_KEY names
# the key that is made and deleted, HOME is where bao keeps the token of its login.
# A VAULT_TOKEN is used where there is one (OpenBao needs it).
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
bao=$1
key=$TRANSIT_KEY
keys=transit/keys/$key
# A refusal that is worth a second try would hide here.
export BAO_MAX_RETRIES=0 VAULT_MAX_RETRIES=0

# says ARGUMENTS...: the output of a command that must succeed.
says() {
    local out
    out=$("$bao" "$@" 2>&1) || fail "success of bao $*" "$out"
    printf '%s' "$out"
}

# said ARGUMENTS...: as `says`, into $got, in this shell, so that a failure ends it.
said() { got=$(says "$@") || { printf '%s\n' "$got"; exit 1; }; }

# refused TEXT ARGUMENTS...
refused() {
    local out text=$1
    shift
    out=$("$bao" "$@" 2>&1) && fail "a refusal of bao $*: $text" "$out"
    has "$text" "$out"
}

compact() { tr -d ' \n'; }

field() { said read -field="$1" "$keys"; }

# decrypts CIPHERTEXT PLAINTEXT
decrypts() {
    said write -field=plaintext "transit/decrypt/$key" ciphertext="$1"
    is "$2" "$got"
}

data() {
    step "create"
    said write -f "$keys"
    step "read"
    field type && is aes256-gcm96 "$got"
    field latest_version && is 1 "$got"
    field deletion_allowed && is false "$got"
    step "encrypt"
    said write -field=ciphertext "transit/encrypt/$key" plaintext="$DEK"
    begins vault:v1: "$got"
    old=$got
    step "decrypt"
    decrypts "$old" "$DEK"

    step "batch encrypt"
    said write -format=json -field=batch_results "transit/encrypt/$key" - \
        <<<"{\"batch_input\":[{\"plaintext\":\"$DEK\",\"reference\":\"one\"},{\"plaintext\":\"$SECOND\"}]}"
    is '[{"ciphertext":"C1","key_version":1,"reference":"one"},{"ciphertext":"C1","key_version":1,"reference":""}]' \
        "$(compact <<<"$got" | mask)"
    mapfile -t two < <(ciphertexts "$got")
    step "batch decrypt"
    said write -format=json -field=batch_results "transit/decrypt/$key" - \
        <<<"{\"batch_input\":[{\"ciphertext\":\"${two[1]}\"},{\"ciphertext\":\"${two[0]}\",\"reference\":\"one\"}]}"
    is "[{\"plaintext\":\"$SECOND\",\"reference\":\"\"},{\"plaintext\":\"$DEK\",\"reference\":\"one\"}]" "$(compact <<<"$got")"

    step "datakey plaintext"
    said write -format=json -f "transit/datakey/plaintext/$key"
    local plaintext
    plaintext=$(sed -nE 's/^ *"plaintext": "([^"]*)".*/\1/p' <<<"$got")
    is 32 "$(base64 -d <<<"$plaintext" | wc -c)"
    decrypts "$(ciphertexts "$got")" "$plaintext"
    step "datakey wrapped"
    said write -format=json "transit/datakey/wrapped/$key" bits=128
    without '"plaintext"' "$got"
    said write -field=plaintext "transit/decrypt/$key" ciphertext="$(ciphertexts "$got")"
    is 16 "$(base64 -d <<<"$got" | wc -c)"
}

versions() {
    step "rotate"
    said write -f "$keys/rotate"
    field latest_version && is 2 "$got"
    step "decrypt after rotate"
    decrypts "$old" "$DEK"
    step "encrypt after rotate"
    said write -field=ciphertext "transit/encrypt/$key" plaintext="$SECOND"
    begins vault:v2: "$got"
    decrypts "$got" "$SECOND"
    step "rewrap"
    said write -field=ciphertext "transit/rewrap/$key" ciphertext="$old"
    begins vault:v2: "$got"
    new=$got
    decrypts "$new" "$DEK"
    decrypts "$old" "$DEK"
    step "list"
    said list -format=json transit/keys
    has "\"$key\"" "$got"
    step "config min_decryption_version"
    said write "$keys/config" min_decryption_version=2
    field min_decryption_version && is 2 "$got"
    refused "$TOO_OLD" write "transit/decrypt/$key" ciphertext="$old"
    decrypts "$new" "$DEK"
}

deletion() {
    step "delete refused"
    refused "$NO_DELETION" delete "$keys"
    decrypts "$new" "$DEK"
    step "config deletion_allowed"
    said write "$keys/config" deletion_allowed=true
    field deletion_allowed && is true "$got"
    step "delete"
    said delete "$keys"
    step "read after delete"
    refused "No value found" read "$keys"
    refused "encryption key not found" write "transit/decrypt/$key" ciphertext="$new"
}

login() {
    step "status"
    said status -format=json
    has '"initialized": true' "$got"
    has '"sealed": false' "$got"
    unset VAULT_TOKEN BAO_TOKEN
    step "login -method=cert"
    said login -format=json -method=cert
    has '"client_token": "' "$got"
    step "token lookup"
    said token lookup -format=json
    has '"policies": [' "$got"
    step "encrypt with the token of the login"
    said write -f "transit/keys/$key-login"
    said write -field=ciphertext "transit/encrypt/$key-login" plaintext="$DEK"
    begins vault:v1: "$got"
    step "token renew"
    said token renew -format=json
    has '"client_token": "' "$got"
    step "token revoke"
    said token revoke -self
}

data
versions
deletion
login
echo "all steps right"
