"""node-oidc-provider, from npm."""

from pathlib import Path

from bench.launch import Launch, Peer, token_ask
from bench.programs import bench_secret, free_port, node_modules, npm_versions


def _prepare(_: Path) -> Launch:
    folder, port, secret = node_modules("node-oidc-provider"), free_port(), bench_secret()
    return Launch(
        ("node", "server.js"),
        folder,
        port,
        (
            token_ask("RS256", "/token", "bench", secret),
            token_ask("ES256", "/token", "bench-es", secret),
        ),
        {"NODE_ENV": "production", "PORT": str(port), "BENCH_SECRET": secret},
        "/jwks",
        npm_versions(folder, "oidc-provider", "jose"),
    )


OIDC_PROVIDER = Peer("node-oidc-provider", _prepare)
