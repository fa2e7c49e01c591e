// jose verifies a token of a session, for `cargo xtask interop`.

import { webcrypto } from "node:crypto";
import { createRemoteJWKSet, jwtVerify } from "jose";

// Node.js 18 has it, but not as a global.
globalThis.crypto ??= webcrypto;

const {
  INTEROP_ISSUER: issuer,
  INTEROP_AUDIENCE: audience,
  INTEROP_SECRET: secret,
  INTEROP_PASSWORD: password,
} = process.env;

async function verify(token, audience) {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`);
  const found = await response.json();
  const algorithms = found.id_token_signing_alg_values_supported;
  const key = algorithms.includes("HS256")
    ? new TextEncoder().encode(secret)
    : createRemoteJWKSet(new URL(found.jwks_uri));
  return jwtVerify(token, key, { issuer, audience, algorithms, typ: "session+jwt" });
}

async function login() {
  const response = await fetch(`${issuer}/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username: "admin", password }),
  });
  return (await response.json()).token;
}

async function refused(token, audience) {
  try {
    await verify(token, audience);
  } catch (error) {
    if (error.code?.startsWith("ERR_J")) return;
    throw error;
  }
  throw new Error("jose has accepted what it must not");
}

const token = await login();
const { payload } = await verify(token, audience);
if (payload.username !== "admin") throw new Error(JSON.stringify(payload));
const end = token.lastIndexOf(".") + 1;
await refused(token.slice(0, end) + "A".repeat(token.length - end), audience);
await refused(token, "another audience");
