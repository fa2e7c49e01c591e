"""Who calls, for `cargo xtask fuzz-api`, which sets the FUZZ_… variables.

Schemathesis loads this file (SCHEMATHESIS_HOOKS) and asks for credentials for each
request that it has made up.
"""

import itertools
import os

import requests
import schemathesis

BASE = os.environ["FUZZ_URL"]
CALLER = os.environ["FUZZ_CALLER"]
SERVICE_API_KEY = os.environ["FUZZ_SERVICE_API_KEY"]
ADMIN = {"username": os.environ["FUZZ_USERNAME"], "password": os.environ["FUZZ_PASSWORD"]}
USER = {"username": "fuzz-user", "password": os.environ["FUZZ_PASSWORD"]}

FOR_SERVICES = {"/introspect", "/snapshot/users", "/snapshot/identities"}
# They end the session that asks: each gets one of its own.
END_THE_SESSION = {("POST", "/logout"), ("DELETE", "/me/sessions/{id}")}


ADDRESSES = (f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1" for n in itertools.count())


def elsewhere():
    """Each request comes from a network of its own, as far as the service can tell: it
    believes one proxy, and wrong passwords from one network are soon refused."""
    return {"X-Forwarded-For": next(ADDRESSES)}


def login(credentials):
    response = requests.post(
        f"{BASE}/login", json=credentials, headers=elsewhere(), timeout=30
    )
    response.raise_for_status()
    return response.json()["token"]


def create_user():
    headers = {"Authorization": f"Bearer {login(ADMIN)}"}
    response = requests.post(f"{BASE}/admin/users", json=USER, headers=headers, timeout=30)
    if response.status_code not in (201, 409):
        response.raise_for_status()


CREDENTIALS = {"admin": ADMIN, "user": USER, "nobody": None}[CALLER]
if CALLER == "user":
    create_user()


@schemathesis.auth(refresh_interval=5)
class Caller:
    """A session's token, or the key of the services where that is asked for."""

    def get(self, case, context):
        return login(CREDENTIALS) if CREDENTIALS else ""

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), **elsewhere()}
        if not data:
            return
        if case.operation.path in FOR_SERVICES:
            data = SERVICE_API_KEY
        elif (case.operation.method.upper(), case.operation.path) in END_THE_SESSION:
            data = login(CREDENTIALS)
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
