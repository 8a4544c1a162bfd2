"""Authlib, as a client with each authentication method, exchanges a token at `cambist serve`.

Usage: authlib_clients.py PATH-OF-CAMBIST. Says what it did; exits 1 on any surprise.
"""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
IDP = "https://idp.example.com"
BACKEND = "https://backend.example.com"
SECRET = "a-secret-that-a-machine-might-have-drawn"

problems = []


def expect(what, good, detail=""):
    print(f"  {'✓' if good else '✗'} {what}" + (f": {detail}" if detail else ""))
    if not good:
        problems.append(what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Realm:
    """A directory with a small realm: one identity provider, one client for each method."""

    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.token_endpoint = f"{self.issuer}/token"
        self.idp = ECKey.generate_key("P-256", auto_kid=True)
        self.keys = {
            "RS256": RSAKey.generate_key(2048, auto_kid=True),
            "ES256": ECKey.generate_key("P-256", auto_kid=True),
            "EdDSA": OKPKey.generate_key("Ed25519", auto_kid=True),
        }
        self.write("idp.json", jwks(self.idp))
        self.write("client.secret", SECRET)
        clients = {
            "basic": "client_secret_basic: { secret_file: client.secret }",
            "post": "client_secret_post: { secret_file: client.secret }",
            "public": "none: {}",
        }
        for alg, key in self.keys.items():
            name = alg.lower()
            self.write(f"{name}.json", jwks(key))
            # An hour is how long Authlib's assertions live.
            keys = f"jwks_file: {name}.json, max_lifetime: 1h"
            clients[name] = f"private_key_jwt: {{ {keys} }}"
            legacy = f"{keys}, legacy_audience: token_endpoint"
            clients[f"{name}-legacy"] = f"private_key_jwt: {{ {legacy} }}"
        self.write(
            "cambist.yaml",
            "\n".join(
                [
                    f"server: {{ listen: 127.0.0.1:{self.port} }}",
                    f"admin: {{ listen: 127.0.0.1:{free_port()} }}",
                    "audit: { file: audit.jsonl }",
                    f"issuer: {self.issuer}",
                    "keys: [ { ephemeral: PS256 } ]",
                    "issuers:",
                    f"  idp: {{ issuer: {IDP}, jwks_file: idp.json, audience: client, scope: claim }}",
                    "clients:",
                    *(f"  {name}: {{ auth: {{ {auth} }} }}" for name, auth in clients.items()),
                    "resources:",
                    f"  backend: {{ under: {BACKEND}, audience: {BACKEND}, scopes: [api] }}",
                    "processors:",
                    "  mint: { provider: mint, lifetime: 60s }",
                    'policies: ["*.policy"]',
                    "",
                ]
            ),
        )
        self.write(
            "main.policy",
            "policy 1 module main\n\nrule all {\n  from idp\n  by   any client\n"
            f'  to   resource under "{BACKEND}"\n'
            "  use  mint { scope: requested & subject.scope }\n}\n",
        )

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)

    def subject_token(self, client):
        now = int(time.time())
        claims = {
            "iss": IDP, "sub": "alice", "aud": client, "iat": now, "exp": now + 600, "scope": "api",
        }  # fmt: skip
        header = {"alg": "ES256", "kid": self.idp.kid, "typ": "at+jwt"}
        return jwt.encode(header, claims, self.idp)

    def last_reason(self):
        records = (self.directory / "audit.jsonl").read_text().splitlines()
        return json.loads(records[-1]).get("reason")

    def exchange(self, client_id, secret, method, auth=None):
        """The claims of the new token, verified with the published keys, and its client's method."""
        client = OAuth2Client(client_id, secret, token_endpoint_auth_method=method)
        if auth is not None:
            client.register_client_auth_method(auth)
        # In its first seconds a server cannot know whether an assertion was used before it started.
        for _ in range(20):
            try:
                token = client.fetch_token(
                    self.token_endpoint,
                    grant_type=EXCHANGE,
                    subject_token=self.subject_token(client_id),
                    subject_token_type=ACCESS_TOKEN,
                    resource=f"{BACKEND}/api",
                )
                break
            except httpx.HTTPStatusError as error:
                if error.response.json()["error"] != "temporarily_unavailable":
                    raise
                time.sleep(int(error.response.headers["Retry-After"]))
        else:
            raise OAuthError("temporarily_unavailable", "each of twenty times")
        keys = KeySet.import_key_set(httpx.get(f"{self.issuer}/jwks").json())
        return jwt.decode(token["access_token"], keys, algorithms=["PS256"]).claims

    def accepts(self, what, client_id, secret, method, auth=None):
        try:
            claims = self.exchange(client_id, secret, method, auth)
        except OAuthError as error:
            expect(what, False, f"{error} ({self.last_reason()})")
            return
        good = (claims["sub"], claims["client_id"], claims["aud"]) == ("alice", client_id, BACKEND)
        expect(what, good, "" if good else str(claims))

    def refuses(self, what, reason, client_id, secret, method, auth=None):
        try:
            claims = self.exchange(client_id, secret, method, auth)
        except OAuthError as error:
            found = (error.error, self.last_reason())
            expect(f"{what} is refused", found == ("invalid_client", reason), str(found))
            return
        expect(f"{what} is refused", False, str(claims))


def jwks(key):
    return json.dumps({"keys": [{**key.as_dict(private=False), "use": "sig"}]})


def run(realm):
    metadata = httpx.get(f"{realm.issuer}/.well-known/oauth-authorization-server").json()
    # Authlib insists on https, which a name on loopback need not have.
    as_named = json.loads(json.dumps(metadata).replace("http://127.0.0.1", "https://127.0.0.1"))
    as_named["response_types_supported"] = ["none"]
    AuthorizationServerMetadata(as_named).validate()
    expect(
        "metadata name the methods and algorithms",
        set(metadata["token_endpoint_auth_methods_supported"])
        == {"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
        and set(metadata["token_endpoint_auth_signing_alg_values_supported"]) == set(realm.keys),
    )
    realm.accepts("client_secret_basic", "basic", SECRET, "client_secret_basic")
    realm.accepts("client_secret_post", "post", SECRET, "client_secret_post")
    realm.accepts("none", "public", None, "none")
    realm.refuses("a wrong secret", "client_auth_failed", "basic", "wrong", "client_secret_basic")
    realm.refuses("none for a client with a secret", "client_auth_missing", "basic", None, "none")
    for alg, key in realm.keys.items():
        name = alg.lower()
        method = "private_key_jwt"
        by_issuer = lambda: PrivateKeyJWT(realm.issuer, alg=alg)  # noqa: E731
        by_endpoint = lambda: PrivateKeyJWT(realm.token_endpoint, alg=alg)  # noqa: E731
        realm.accepts(f"private_key_jwt, {alg}", name, key, method, by_issuer())
        realm.refuses(
            f"private_key_jwt, {alg}, for the token endpoint",
            "assertion_audience", name, key, method, by_endpoint(),
        )  # fmt: skip
        realm.accepts(
            f"private_key_jwt, {alg}, for the token endpoint where configured",
            f"{name}-legacy", key, method, by_endpoint(),
        )  # fmt: skip
        realm.accepts(
            f"private_key_jwt, {alg}, for the issuer there too",
            f"{name}-legacy", key, method, by_issuer(),
        )  # fmt: skip
    other = ECKey.generate_key("P-256")
    realm.refuses(
        "an assertion by another key",
        "assertion_signature", "es256", other, "private_key_jwt",
        PrivateKeyJWT(realm.issuer, alg="ES256"),
    )  # fmt: skip
    same = {"jti": "the-same-for-each"}
    once = lambda: PrivateKeyJWT(realm.issuer, claims=dict(same), alg="ES256")  # noqa: E731
    realm.accepts("an assertion with an id", "es256", realm.keys["ES256"], "private_key_jwt", once())
    realm.refuses(
        "the same id again",
        "assertion_replayed", "es256", realm.keys["ES256"], "private_key_jwt", once(),
    )  # fmt: skip
    realm.refuses(
        "client_secret_jwt",
        "assertion_hmac", "basic", OctKey.import_key(SECRET), "client_secret_jwt",
        ClientSecretJWT(realm.issuer),
    )  # fmt: skip


def main(binary):
    with tempfile.TemporaryDirectory() as name:
        realm = Realm(pathlib.Path(name))
        print(f"Authlib at cambist serve, {realm.issuer}")
        with open(realm.directory / "log", "w") as log:
            server = subprocess.Popen([binary, "serve", name], stdout=log, stderr=log)
        try:
            for _ in range(100):
                try:
                    httpx.get(f"{realm.issuer}/jwks")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            run(realm)
        except Exception:
            print((realm.directory / "log").read_text(), file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait(timeout=60)
    if problems:
        sys.exit(f"{len(problems)} surprises: {', '.join(problems)}")
    print("no surprises")


main(pathlib.Path(sys.argv[1]).resolve())
