"""joserfc verifies a token of a session, for `cargo xtask interop`."""

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from service import AUDIENCE, ISSUER, SECRET, configuration, get, login


def verify(token, audience=AUDIENCE):
    found = configuration()
    algorithms = found["id_token_signing_alg_values_supported"]
    if algorithms == ["HS256"]:
        key = OctKey.import_key(SECRET)
    else:
        key = KeySet.import_key_set(get(found["jwks_uri"]))
    decoded = jwt.decode(token, key, algorithms=algorithms)
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    registry.validate(decoded.claims)
    return decoded


def refused(*arguments):
    try:
        verify(*arguments)
    except (JoseError, ValueError):
        return
    raise SystemExit("joserfc has accepted what it must not")


token = login()
good = verify(token)
assert good.claims["username"] == "admin" and good.header["typ"] == "session+jwt", good.claims
head, _, signature = token.rpartition(".")
refused(f"{head}.{signature[:-8]}AAAAAAAA")
refused(token, "another audience")
