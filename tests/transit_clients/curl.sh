#!/usr/bin/env bash
# curl, with nothing but the certificate, against a Transit server: curl.sh.
# VAULT_ADDR, VAULT_CACERT, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY say where and who, TRANSIT_KEY names
# the key that is made and deleted. A VAULT_TOKEN is sent where there is one (OpenBao needs it).
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
key=$TRANSIT_KEY
keys=transit/keys/$key
ENVELOPE='{"request_id":"'

# ask METHOD PATH [BODY]: the status into $status, the body into $got.
ask() {
    local options=(-sS --max-time 30 --cacert "$VAULT_CACERT" --cert "$VAULT_CLIENT_CERT" --key "$VAULT_CLIENT_KEY")
    [[ -n ${VAULT_TOKEN:-} ]] && options+=(-H "X-Vault-Token: $VAULT_TOKEN")
    [[ $1 == HEAD ]] && options+=(--head) || options+=(-X "$1")
    [[ $# -gt 2 ]] && options+=(--data "$3")
    got=$(curl "${options[@]}" -w '\n%{http_code}' "$VAULT_ADDR/v1/$2" 2>&1) || fail "an answer to $1 $2" "$got"
    status=${got##*$'\n'}
    got=${got%$'\n'*}
    # Every body that is not a failed batch ends with a line feed.
    got=${got%$'\n'}
}

# answers STATUS METHOD PATH [BODY]
answers() {
    local want=$1
    shift
    ask "$@"
    [[ $status == "$want" ]] || fail "status $want of $1 $2" "$status $got"
}

# value NAME: a string or number of the answer.
value() { sed -nE "s/.*\"$1\":\"?([^\",}]*).*/\1/p" <<<"$got"; }

# decrypts CIPHERTEXT PLAINTEXT
decrypts() {
    answers 200 POST "transit/decrypt/$key" "{\"ciphertext\":\"$1\"}"
    is "$2" "$(value plaintext)"
}

# refuses STATUS BODY METHOD PATH [BODY]
refuses() {
    local want=$2
    answers "$1" "${@:3}"
    is "$want" "$got"
}

data() {
    step "create"
    answers 200 POST "$keys"
    begins "$ENVELOPE" "$got"
    step "read"
    answers 200 GET "$keys"
    has '"deletion_allowed":false' "$got"
    has '"type":"aes256-gcm96"' "$got"
    is 1 "$(value latest_version)"
    step "encrypt"
    answers 200 POST "transit/encrypt/$key" "{\"plaintext\":\"$DEK\"}"
    old=$(value ciphertext)
    begins vault:v1: "$old"
    step "decrypt"
    decrypts "$old" "$DEK"

    step "batch encrypt"
    answers 200 PUT "transit/encrypt/$key" \
        "{\"batch_input\":[{\"plaintext\":\"$DEK\",\"reference\":\"one\"},{\"plaintext\":\"$SECOND\"}]}"
    has '"batch_results":[{"ciphertext":"C1","key_version":1,"reference":"one"},{"ciphertext":"C1","key_version":1,"reference":""}]' \
        "$(mask <<<"$got")"
    mapfile -t two < <(ciphertexts "$got")
    step "batch decrypt"
    answers 200 POST "transit/decrypt/$key" \
        "{\"batch_input\":[{\"ciphertext\":\"${two[1]}\"},{\"ciphertext\":\"${two[0]}\",\"reference\":\"one\"}]}"
    has "\"batch_results\":[{\"plaintext\":\"$SECOND\",\"reference\":\"\"},{\"plaintext\":\"$DEK\",\"reference\":\"one\"}]" "$got"

    local plaintext
    step "datakey plaintext"
    answers 200 POST "transit/datakey/plaintext/$key"
    plaintext=$(value plaintext)
    is 32 "$(base64 -d <<<"$plaintext" | wc -c)"
    decrypts "$(value ciphertext)" "$plaintext"
    step "datakey wrapped"
    answers 200 POST "transit/datakey/wrapped/$key" '{"bits":512}'
    without '"plaintext"' "$got"
    answers 200 POST "transit/decrypt/$key" "{\"ciphertext\":\"$(value ciphertext)\"}"
    is 64 "$(base64 -d <<<"$(value plaintext)" | wc -c)"
}

versions() {
    step "rotate"
    answers 200 POST "$keys/rotate"
    answers 200 GET "$keys"
    is 2 "$(value latest_version)"
    step "decrypt after rotate"
    decrypts "$old" "$DEK"
    step "encrypt after rotate"
    answers 200 POST "transit/encrypt/$key" "{\"plaintext\":\"$SECOND\"}"
    begins vault:v2: "$(value ciphertext)"
    decrypts "$(value ciphertext)" "$SECOND"
    step "rewrap"
    answers 200 POST "transit/rewrap/$key" "{\"ciphertext\":\"$old\"}"
    new=$(value ciphertext)
    begins vault:v2: "$new"
    decrypts "$new" "$DEK"
    decrypts "$old" "$DEK"
    step "list"
    answers 200 LIST transit/keys
    has "\"$key\"" "$got"
    answers 200 GET "transit/keys?list=true"
    has "\"$key\"" "$got"
    step "config min_decryption_version"
    answers 200 POST "$keys/config" '{"min_decryption_version":2}'
    answers 200 GET "$keys"
    is 2 "$(value min_decryption_version)"
    refuses 400 "{\"errors\":[\"$TOO_OLD\"]}" POST "transit/decrypt/$key" "{\"ciphertext\":\"$old\"}"
    decrypts "$new" "$DEK"
}

deletion() {
    step "delete refused"
    refuses 400 "{\"errors\":[\"error deleting policy $key: $NO_DELETION\"]}" DELETE "$keys"
    decrypts "$new" "$DEK"
    step "config deletion_allowed"
    answers 200 POST "$keys/config" '{"deletion_allowed":true}'
    has '"deletion_allowed":true' "$got"
    step "delete"
    answers 204 DELETE "$keys"
    is "" "$got"
    step "read after delete"
    refuses 404 '{"errors":[]}' GET "$keys"
    refuses 400 '{"errors":["encryption key not found"]}' POST "transit/decrypt/$key" "{\"ciphertext\":\"$new\"}"
}

around() {
    step "health"
    answers 200 HEAD sys/health
    answers 200 GET sys/health
    has '"sealed":false' "$got"
    step "login"
    unset VAULT_TOKEN
    answers 200 POST auth/cert/login
    VAULT_TOKEN=$(value client_token)
    [[ -n $VAULT_TOKEN ]] || fail "a client_token" "$got"
    step "token lookup"
    answers 200 GET auth/token/lookup-self
    is "$VAULT_TOKEN" "$(value id)"
    step "token renew"
    answers 200 POST auth/token/renew-self
    step "token revoke"
    answers 204 POST auth/token/revoke-self
}

data
versions
deletion
around
echo "all steps right"
