// node-vault against a Transit server, as a Node program would use it: client.mjs FOLDER, which has
// the installed node_modules.
//
// VAULT_ADDR, VAULT_CACERT, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY say where and who, TRANSIT_KEY names
// the key that is made and deleted. A VAULT_TOKEN is used where there is one (OpenBao needs it).
// A line for each step, and an end at the first wrong answer.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";

const vault = createRequire(`${process.argv[2]}/package.json`)("node-vault");

const DEK = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND = "c2Vjb25k";
const TOO_OLD = "ciphertext or signature version is disallowed by policy (too old)";
const name = process.env.TRANSIT_KEY;
let current = "start";

class Wrong extends Error {}

function step(text) {
    current = text;
    console.log(text);
}

function equal(expected, got) {
    if (!isDeepStrictEqual(expected, got)) {
        throw new Wrong(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
    }
}

function begins(prefix, got) {
    if (!String(got).startsWith(prefix)) throw new Wrong(`expected ${prefix}..., got ${got}`);
}

async function refused(status, text, call) {
    let got;
    try {
        got = await call();
    } catch (error) {
        equal(status, error.response?.statusCode);
        if (!error.message.includes(text)) throw new Wrong(`expected ${text}, got ${error.message}`);
        return;
    }
    throw new Wrong(`expected ${status} ${text}, got ${JSON.stringify(got)}`);
}

function connect(token) {
    const file = (variable) => readFileSync(process.env[variable]);
    return vault({
        endpoint: process.env.VAULT_ADDR,
        token,
        requestOptions: { ca: file("VAULT_CACERT"), cert: file("VAULT_CLIENT_CERT"), key: file("VAULT_CLIENT_KEY") },
    });
}

const client = connect(process.env.VAULT_TOKEN);
const read = async () => (await client.transitReadKey({ name })).data;
const encrypt = async (plaintext) => (await client.encryptData({ name, plaintext })).data.ciphertext;
const decrypt = async (ciphertext) => (await client.decryptData({ name, ciphertext })).data.plaintext;
const bytes = (base64) => Buffer.from(base64, "base64").length;

async function data() {
    step("create");
    await client.transitCreateKey({ name });
    step("read");
    const { type, latest_version, deletion_allowed } = await read();
    equal(["aes256-gcm96", 1, false], [type, latest_version, deletion_allowed]);
    step("encrypt");
    const old = await encrypt(DEK);
    begins("vault:v1:", old);
    step("decrypt");
    equal(DEK, await decrypt(old));

    step("batch encrypt");
    const items = [{ plaintext: DEK, reference: "one" }, { plaintext: SECOND }];
    const sealed = (await client.encryptData({ name, batch_input: items })).data.batch_results;
    equal(["one", ""], sealed.map((item) => item.reference));
    step("batch decrypt");
    const back = [{ ciphertext: sealed[1].ciphertext }, { ciphertext: sealed[0].ciphertext, reference: "one" }];
    equal(
        [{ plaintext: SECOND, reference: "" }, { plaintext: DEK, reference: "one" }],
        (await client.decryptData({ name, batch_input: back })).data.batch_results,
    );

    step("datakey plaintext");
    const shown = (await client.write(`transit/datakey/plaintext/${name}`, {})).data;
    equal(32, bytes(shown.plaintext));
    equal(shown.plaintext, await decrypt(shown.ciphertext));
    step("datakey wrapped");
    const wrapped = (await client.write(`transit/datakey/wrapped/${name}`, { bits: 128 })).data;
    equal(undefined, wrapped.plaintext);
    equal(16, bytes(await decrypt(wrapped.ciphertext)));
    return old;
}

async function versions(old) {
    step("rotate");
    await client.write(`transit/keys/${name}/rotate`);
    equal(2, (await read()).latest_version);
    step("decrypt after rotate");
    equal(DEK, await decrypt(old));
    step("encrypt after rotate");
    const newer = await encrypt(SECOND);
    begins("vault:v2:", newer);
    equal(SECOND, await decrypt(newer));
    step("rewrap");
    const fresh = (await client.rewrapData({ name, ciphertext: old })).data.ciphertext;
    begins("vault:v2:", fresh);
    equal([DEK, DEK], [await decrypt(fresh), await decrypt(old)]);
    step("list");
    equal(true, (await client.transitListKeys()).data.keys.includes(name));
    step("config min_decryption_version");
    await client.write(`transit/keys/${name}/config`, { min_decryption_version: 2 });
    equal(2, (await read()).min_decryption_version);
    await refused(400, TOO_OLD, () => decrypt(old));
    equal(DEK, await decrypt(fresh));
    return fresh;
}

async function deletion(fresh) {
    step("delete refused");
    await refused(400, "deletion is not allowed for this key", () => client.transitDeleteKey({ name }));
    equal(DEK, await decrypt(fresh));
    step("config deletion_allowed");
    await client.write(`transit/keys/${name}/config`, { deletion_allowed: true });
    equal(true, (await read()).deletion_allowed);
    step("delete");
    await client.transitDeleteKey({ name });
    step("read after delete");
    await refused(404, "", read);
    await refused(400, "encryption key not found", () => decrypt(fresh));
}

async function around() {
    const own = connect("");
    step("health");
    const health = await own.health();
    equal([true, false], [health.initialized, health.sealed]);
    step("status");
    equal(false, (await own.status()).sealed);
    step("initialized");
    equal(true, (await own.initialized()).initialized);
    step("login");
    own.token = (await own.write("auth/cert/login", {})).auth.client_token;
    step("token lookup");
    equal(own.token, (await own.tokenLookupSelf()).data.id);
    step("token renew");
    equal(true, Boolean((await own.tokenRenewSelf()).auth.client_token));
    step("token revoke");
    await own.tokenRevokeSelf();
}

try {
    const old = await data();
    const fresh = await versions(old);
    await deletion(fresh);
    await around();
    console.log("all steps right");
} catch (error) {
    const got = error instanceof Wrong ? error.message : `expected an answer, got ${error.response?.statusCode ?? ""} ${error.message}`;
    console.log(`FAILED ${current}: ${got}`);
    process.exitCode = 1;
}
