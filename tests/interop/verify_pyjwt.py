"""PyJWT verifies a token of a session, for `cargo xtask interop`."""

import jwt

from service import AUDIENCE, ISSUER, SECRET, configuration, login


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
