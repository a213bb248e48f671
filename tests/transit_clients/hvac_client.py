"""hvac against a Transit server, as a Python program would use it.

VAULT_ADDR, VAULT_CACERT, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY say where and who, TRANSIT_KEY names
the key that is made and deleted. A VAULT_TOKEN is used where there is one (OpenBao needs it).
A line for each step, and an end at the first wrong answer.
"""

import base64
import os
import sys

import hvac
from hvac.exceptions import InvalidPath, InvalidRequest

DEK = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECOND = "c2Vjb25k"
TOO_OLD = "ciphertext or signature version is disallowed by policy (too old)"
KEY = os.environ["TRANSIT_KEY"]
current = "start"


def step(name):
    global current
    current = name
    print(name, flush=True)


def fail(expected, got):
    print(f"FAILED {current}: expected {expected!r}, got {got!r}")
    sys.exit(1)


def equal(expected, got):
    if got != expected:
        fail(expected, got)


def begins(prefix, got):
    if not isinstance(got, str) or not got.startswith(prefix):
        fail(prefix + "...", got)


def refused(kind, text, call):
    try:
        got = call()
    except kind as error:
        if text not in str(error):
            fail(f"{kind.__name__} with {text}", str(error))
    else:
        fail(kind.__name__, got)


def connect(token):
    certificate = (os.environ["VAULT_CLIENT_CERT"], os.environ["VAULT_CLIENT_KEY"])
    # An empty token keeps hvac from looking for one elsewhere.
    return hvac.Client(
        url=os.environ["VAULT_ADDR"], token=token, cert=certificate, verify=os.environ["VAULT_CACERT"]
    )


def plaintext_of(transit, ciphertext):
    return transit.decrypt_data(KEY, ciphertext=ciphertext)["data"]["plaintext"]


def data(transit):
    step("create")
    transit.create_key(KEY)
    step("read")
    described = transit.read_key(KEY)["data"]
    equal("aes256-gcm96", described["type"])
    equal(1, described["latest_version"])
    equal(False, described["deletion_allowed"])
    step("encrypt")
    old = transit.encrypt_data(KEY, plaintext=DEK)["data"]["ciphertext"]
    begins("vault:v1:", old)
    step("decrypt")
    equal(DEK, plaintext_of(transit, old))

    step("batch encrypt")
    items = [{"plaintext": DEK, "reference": "one"}, {"plaintext": SECOND}]
    results = transit.encrypt_data(KEY, batch_input=items)["data"]["batch_results"]
    equal(["one", ""], [result["reference"] for result in results])
    step("batch decrypt")
    items = [
        {"ciphertext": results[1]["ciphertext"]},
        {"ciphertext": results[0]["ciphertext"], "reference": "one"},
    ]
    results = transit.decrypt_data(KEY, batch_input=items)["data"]["batch_results"]
    wanted = [{"plaintext": SECOND, "reference": ""}, {"plaintext": DEK, "reference": "one"}]
    equal(wanted, results)

    step("datakey plaintext")
    made = transit.generate_data_key(KEY, "plaintext")["data"]
    equal(32, len(base64.b64decode(made["plaintext"])))
    equal(made["plaintext"], plaintext_of(transit, made["ciphertext"]))
    step("datakey wrapped")
    made = transit.generate_data_key(KEY, "wrapped", bits=128)["data"]
    equal(False, "plaintext" in made)
    equal(16, len(base64.b64decode(plaintext_of(transit, made["ciphertext"]))))
    return old


def versions(transit, old):
    step("rotate")
    transit.rotate_key(KEY)
    equal(2, transit.read_key(KEY)["data"]["latest_version"])
    step("decrypt after rotate")
    equal(DEK, plaintext_of(transit, old))
    step("encrypt after rotate")
    newer = transit.encrypt_data(KEY, plaintext=SECOND)["data"]["ciphertext"]
    begins("vault:v2:", newer)
    equal(SECOND, plaintext_of(transit, newer))
    step("rewrap")
    new = transit.rewrap_data(KEY, old)["data"]["ciphertext"]
    begins("vault:v2:", new)
    equal([DEK, DEK], [plaintext_of(transit, new), plaintext_of(transit, old)])
    step("list")
    names = transit.list_keys()["data"]["keys"]
    equal(True, KEY in names)
    step("config min_decryption_version")
    transit.update_key_configuration(KEY, min_decryption_version=2)
    equal(2, transit.read_key(KEY)["data"]["min_decryption_version"])
    refused(InvalidRequest, TOO_OLD, lambda: plaintext_of(transit, old))
    equal(DEK, plaintext_of(transit, new))
    return new


def deletion(transit, new):
    step("delete refused")
    refused(InvalidRequest, "deletion is not allowed for this key", lambda: transit.delete_key(KEY))
    equal(DEK, plaintext_of(transit, new))
    step("config deletion_allowed")
    transit.update_key_configuration(KEY, deletion_allowed=True)
    equal(True, transit.read_key(KEY)["data"]["deletion_allowed"])
    step("delete")
    equal(204, transit.delete_key(KEY).status_code)
    step("read after delete")
    refused(InvalidPath, "", lambda: transit.read_key(KEY))
    refused(InvalidRequest, "encryption key not found", lambda: plaintext_of(transit, new))


def around():
    client = connect("")
    step("health, seal status, init")
    health = client.sys.read_health_status(method="GET")
    equal((True, False), (health["initialized"], health["sealed"]))
    equal(200, client.sys.read_health_status(method="HEAD").status_code)
    equal(False, client.sys.read_seal_status()["sealed"])
    equal(True, client.sys.is_initialized())
    step("not authenticated before the login")
    equal(False, client.is_authenticated())
    step("login")
    client.auth.cert.login()
    step("authenticated")
    equal(True, client.is_authenticated())
    token = client.lookup_token()["data"]
    equal(client.token, token["id"])
    step("encrypt with the token of the login")
    transit = client.secrets.transit
    transit.create_key(KEY + "-login")
    begins("vault:v1:", transit.encrypt_data(KEY + "-login", plaintext=DEK)["data"]["ciphertext"])
    step("token renew")
    equal(True, bool(client.auth.token.renew_self()["auth"]["client_token"]))
    step("token revoke")
    client.auth.token.revoke_self()


def main():
    transit = connect(os.environ.get("VAULT_TOKEN", "")).secrets.transit
    old = data(transit)
    new = versions(transit, old)
    deletion(transit, new)
    around()
    print("all steps right")


try:
    main()
except hvac.exceptions.VaultError as error:
    fail("an answer", f"{type(error).__name__}: {error}")
except (KeyError, TypeError) as error:
    fail("an answer with all of its members", f"{type(error).__name__}: {error}")
