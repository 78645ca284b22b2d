"""The programs that the servers need, found or installed below `.local/bench`.

Everything has a pinned version: the Python packages come from our own hashed locks, npm's from
package-lock.json, Maven's from pom.xml.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.launch import CannotRunError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".local" / "bench"
PEERS = Path(__file__).parent / "peers"
PYTHON_VARIABLE = "BENCH_PYTHON"
PREFERRED_PYTHON = "3.13"
LOCKS = ("auth-server", "resource-server", "client-service")
INSTALL_SECONDS = 900
RESULTS_LEFT_OUT = (":!bench/RESULTS.md", ":!bench/*.svg")
OLDEST_JAVA = 21

GUNICORN_OF_PEERS = ("--worker-class", "gthread", "--threads", "4", "--keep-alive", "5")
"""How the Python peers are served: by the worker of gunicorn's that keeps connections alive."""


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bench_secret() -> str:
    """Return the secret of every peer's client: as long as ours are, made once on each machine."""
    file = CACHE / "secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(40))
    return file.read_text()


def run(command: Iterable[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command printed; raise CannotRunError with its last line where it fails."""
    try:
        ran = subprocess.run(  # noqa: S603 - the benchmark starts its own servers
            list(command),
            cwd=folder,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(str(error)) from error
    if ran.returncode != 0:
        lines = (ran.stderr.strip() or ran.stdout.strip() or "it said nothing").splitlines()
        raise CannotRunError(f"{Path(ran.args[0]).name} failed: {lines[-1]}")
    return ran.stdout


def commit() -> str:
    """Return the commit that is checked out, and whether files differ from it.

    The results do not count: the row that was measured before has written them.
    """
    try:
        name = run(["git", "describe", "--always", "--exclude=*"], ROOT).strip()
        changed = run(["git", "diff", "--name-only", "HEAD", "--", ".", *RESULTS_LEFT_OUT], ROOT)
    except CannotRunError:
        return "no commit"
    return f"commit {name}{' with changes' if changed else ''}"


def bench_python() -> str:
    """Return the Python of ours and of the Python peers, with our locked packages installed.

    The one that BENCH_PYTHON names; else 3.13 where it is installed, as the images have; else the
    one that runs this.
    """
    chosen = _preferred_python() or sys.executable
    locks = [ROOT / "requirements" / f"{lock}.txt" for lock in LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    folder = CACHE / f"python-{_python_version(chosen)}-{digest}"
    python, installed = folder / "bin" / "python", folder / "installed"
    if not installed.exists():
        print(f"installing our locked packages for Python {_python_version(chosen)}")
        shutil.rmtree(folder, ignore_errors=True)
        run([chosen, "-m", "venv", str(folder)], ROOT)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
        run([*install, *(f"--requirement={lock}" for lock in locks)], ROOT)
        installed.touch()
    return str(python)


def python_versions(python: str, *packages: str) -> str:
    """Return the versions of the Python and of ``packages``, as the report names them.

    How a Python was compiled is part of its speed (README.md), so it is told with its version.
    """
    code = "import sys, sysconfig; from importlib.metadata import version\n"
    code += "print(*[f'{name} {version(name)}' for name in sys.argv[1:]], sep=', ')\n"
    code += "print(sysconfig.get_config_var('CONFIG_ARGS'))"
    told, options = run([python, "-c", code, *packages], ROOT).splitlines()
    return f"Python {_python_version(python)} ({python_build(options)}), {told}"


def python_build(options: str) -> str:
    """Return how a Python was compiled, by the ``options`` of its `configure`."""
    return "with PGO" if "--enable-optimizations" in options else "without PGO"


def _python_version(python: str) -> str:
    code = "import platform; print(platform.python_version())"
    return run([python, "-c", code], ROOT).strip()


def _preferred_python() -> str | None:
    """Return the Python that is named, or a 3.13 that runs: on the path, or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = os.environ.get(PYTHON_VARIABLE)
    if named and shutil.which(named) is None:
        raise CannotRunError(f"{PYTHON_VARIABLE} names {named}, which is no program")
    if named:
        return named
    names = [f"python{PREFERRED_PYTHON}", *map(str, kept.glob(f"{PREFERRED_PYTHON}.*/bin/python"))]
    for name in names:
        try:
            _python_version(name)
        except CannotRunError:  # a shim of pyenv's may stand there and lead nowhere
            continue
        return name
    return None


def node_modules(name: str) -> Path:
    """Return a copy of the folder of the peer ``name``, with its locked packages from npm."""
    if shutil.which("npm") is None:
        raise CannotRunError("npm is not installed")
    folder = working_copy(name)
    lock = (folder / "package-lock.json").read_bytes()
    installed = folder / f"installed-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not installed.exists():
        print(f"installing the packages of {name}")
        run(["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error"], folder)
        installed.touch()
    return folder


def npm_versions(folder: Path, *packages: str) -> str:
    """Return the versions of Node and of ``packages``, as the report names them."""
    node = run(["node", "--version"], folder).strip().removeprefix("v")
    files = [folder / "node_modules" / package / "package.json" for package in packages]
    found = [json.loads(file.read_text()) for file in files]
    return ", ".join([f"Node {node}", *(f"{one['name']} {one['version']}" for one in found)])


def maven_jar(name: str) -> Path:
    """Return the program that Maven builds from the folder of the peer ``name``."""
    if shutil.which("mvn") is None:
        raise CannotRunError("Maven is not installed")
    folder = working_copy(name)
    sources = sorted(file for file in (PEERS / name).rglob("*") if file.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    jar, built = folder / "target" / "app.jar", folder / f"built-{digest}"
    if not built.exists():
        print(f"building {name}")
        build = ["mvn", "--batch-mode", "--quiet", "clean", "package", "-DskipTests"]
        run(build, folder, {"JAVA_HOME": str(java_home())})
        built.touch()
    return jar


def working_copy(name: str) -> Path:
    """Return a folder in the cache with the files of the peer ``name``; git never sees the rest."""
    folder = CACHE / name
    shutil.copytree(PEERS / name, folder, dirs_exist_ok=True)
    return folder


def java_home() -> Path:
    """Return the home of a Java that is new enough; raise CannotRunError where there is none."""
    named = os.environ.get("JAVA_HOME")
    installed = sorted(Path("/usr/lib/jvm").glob("*"), key=_java_feature, reverse=True)
    for home in ([Path(named)] if named else []) + installed:
        if _java_feature(home) >= OLDEST_JAVA:
            return home
    raise CannotRunError(f"no Java {OLDEST_JAVA} or newer is installed (JAVA_HOME names another)")


def java_version(home: Path) -> str:
    """Return the version of the Java at ``home``, empty where there is none."""
    release = home / "release"
    return java_version_in(release.read_text()) if (home / "bin" / "java").exists() else ""


def java_version_in(release: str) -> str:
    """Return the version that the file `release` of a JDK names."""
    found = re.search(r'^JAVA_VERSION="([^"]+)"', release, re.MULTILINE)
    return found.group(1) if found else ""


def _java_feature(home: Path) -> int:
    """Return the feature release of a Java, 17 of `17.0.15`; 0 where there is none."""
    return int(java_version(home).partition(".")[0] or 0)
