"""Spring Authorization Server, built by Maven from a folder of a few classes."""

from functools import partial
from pathlib import Path

from bench.launch import Launch, Peer, token_ask
from bench.programs import bench_secret, free_port, java_home, java_version, maven_jar, run

PROFILE = "authorization-server"


def spring_program() -> tuple[tuple[str, ...], str]:
    """Return the command that runs it, and what it is made of."""
    home, jar = java_home(), maven_jar("spring")
    return (str(home / "bin" / "java"), "-jar", str(jar)), _versions(home, jar)


def _prepare(profiles: str, algorithms: int, folder: Path) -> Launch:
    command, versions = spring_program()
    port, secret = free_port(), bench_secret()
    other = secret[::-1]  # Spring refuses two clients with one secret
    asks = (("RS256", "bench", secret), ("ES256", "bench-es", other))
    return Launch(
        command,
        folder,
        port,
        tuple(token_ask(name, "/oauth2/token", *client) for name, *client in asks[:algorithms]),
        {
            "PORT": str(port),
            "SPRING_PROFILES_ACTIVE": profiles,
            # Without the plain encoder it is hashed with bcrypt when it is first used.
            "BENCH_SECRET": f"{{noop}}{secret}",
            "BENCH_OTHER_SECRET": f"{{noop}}{other}",
        },
        "/oauth2/jwks",
        versions,
        start_seconds=120,
    )


def _versions(home: Path, jar: Path) -> str:
    wanted = ("spring-boot-4", "spring-security-oauth2-authorization-server-", "nimbus-jose-jwt-")
    inside = run([str(home / "bin" / "jar"), "tf", str(jar)], jar.parent).split()
    names = [Path(name).stem for name in inside if Path(name).name.startswith(wanted)]
    return ", ".join([f"Java {java_version(home)}", *names])


SPRING = Peer(
    "Spring, plain secrets",
    partial(_prepare, f"{PROFILE},plain-secrets", 2),
    compiles_while_it_runs=True,
)
SPRING_BCRYPT = Peer(
    "Spring, bcrypt",
    partial(_prepare, PROFILE, 1),  # with bcrypt there is no telling the algorithms apart
    compiles_while_it_runs=True,
)
