"""PyJWT verifies a token of a session, for `cargo xtask interop`."""

import json
import os
import urllib.request

import jwt

ISSUER = os.environ["INTEROP_ISSUER"]
AUDIENCE = os.environ["INTEROP_AUDIENCE"]
SECRET = os.environ["INTEROP_SECRET"]
CREDENTIALS = {"username": "admin", "password": os.environ["INTEROP_PASSWORD"]}


def configuration():
    with urllib.request.urlopen(f"{ISSUER}/.well-known/openid-configuration") as response:
        return json.load(response)


def verify(token, audience=AUDIENCE):
    found = configuration()
    algorithms = found["id_token_signing_alg_values_supported"]
    if algorithms == ["HS256"]:
        key = SECRET
    else:
        key = jwt.PyJWKClient(found["jwks_uri"]).get_signing_key_from_jwt(token).key
    options = {"require": ["exp", "iat", "iss", "aud", "sub"]}
    return jwt.decode(
        token, key, algorithms=algorithms, issuer=ISSUER, audience=audience, options=options
    )


def login():
    request = urllib.request.Request(
        f"{ISSUER}/login",
        data=json.dumps(CREDENTIALS).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["token"]


def refused(*arguments):
    try:
        verify(*arguments)
    except jwt.PyJWTError:
        return
    raise SystemExit("PyJWT has accepted what it must not")


token = login()
claims = verify(token)
assert claims["username"] == "admin" and isinstance(claims["user_id"], int), claims
assert jwt.get_unverified_header(token)["typ"] == "session+jwt"
head, _, signature = token.rpartition(".")
refused(f"{head}.{signature[:-8]}AAAAAAAA")
refused(token, "another audience")
