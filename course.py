#!/usr/bin/env python3
"""LLM Foundry in one command. It needs nothing but Python 3.11 or newer.

    python3 course.py lab [--no-browser] [--port N]    open your copies of the lessons in JupyterLab, on a start page
    python3 course.py lab --fresh 06                   the same, with a new copy of lesson 06; your old one is kept
    python3 course.py test [pytest options]            run every test and every lesson
    python3 course.py test --browser                   the same, and the lessons in a real browser (Chromium)
    python3 course.py check [lesson ...] [--html]      the lessons alone, compared: a table, and a report with pictures
    python3 course.py refresh [lesson ...]             run lessons again and store what they print and draw
    python3 course.py faults [name ...]                put deliberate faults into copies; which check catches them?

The first start installs everything into .venv; the next ones take seconds and need no network. With --here, as in
`python course.py --here check`, each command uses the environment that is active (conda, a hosted machine) and
installs nothing.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
HERE = False  # True: use the environment that this Python belongs to, and install nothing
MIN_PYTHON = (3, 11)
TORCH = "2.13.0"
ROOM_GB, CUDA_ROOM_GB = 3, 10  # .venv measured 1.5 GB with a CPU build of PyTorch; CUDA adds several
PROBLEMS = (  # words in the installer's log -> what happened and what to do; the first that is found counts
    ("No space left|disk quota", "The disk is full. Free " + str(ROOM_GB) + " GB"),
    (
        "NewConnection|name resolution|getaddrinfo|dns error|error sending request|ConnectTimeout|ProxyError"
        "|Network is unreachable|Max retries|ReadTimeout|SSLError|CERTIFICATE_VERIFY|Connection refused",
        "The package index can not be reached. Connect to the network (behind a proxy, set HTTPS_PROXY)",
    ),
    (
        "No matching distribution found for torch|no wheels? with a matching|no version of torch",
        "PyTorch " + TORCH + " has no build for this Python or machine. Take a 64-bit Python 3.11 to 3.14",
    ),
    (
        "Permission denied|Access is denied",
        "A file in .venv can not be written. Close JupyterLab and other programs that use this folder",
    ),
)


class Stop(Exception):
    """Set-up can not go on; the message is for the person at the keyboard: what is wrong and what to do."""


# ---- The two places where other programs are run


def environment():
    """The environment that every command runs in: the course's own, whatever this account has configured.

    A Jupyter configuration in the home folder could open the address or switch the token off, an IPython
    profile could change what the lessons print, a PYTHONPATH could put other packages in front: none is read.
    With --here the Python variables stay, because an active environment may find its packages by them.
    """
    ignored = ("JUPYTER",) if HERE else ("JUPYTER", "PYTHON")
    env = {key: value for key, value in os.environ.items() if not key.startswith(ignored)}
    settings = ROOT / "runs" / "here" if HERE else VENV
    home = settings / "jupyter"
    env.update(
        PYTHONUTF8="1",
        IPYTHONDIR=str(settings / "ipython"),
        JUPYTER_PREFER_ENV_PATH="1",
        JUPYTER_CONFIG_DIR=str(home / "config"),
        JUPYTER_DATA_DIR=str(home / "data"),
        JUPYTERLAB_SETTINGS_DIR=str(home / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(home / "workspaces"),
    )
    return env


def execute(command, stdout=None, on_wait=None):
    """Run a command to its end, return its exit code. Ctrl-C reaches it too: we wait until it has closed."""
    quiet = dict(stdout=stdout, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) if stdout else {}
    process = subprocess.Popen([str(part) for part in command], cwd=str(ROOT), env=environment(), **quiet)
    try:
        while True:
            try:
                return process.wait(timeout=1 if on_wait else None)
            except subprocess.TimeoutExpired:
                on_wait()
            except KeyboardInterrupt:
                process.wait()
                raise
    finally:
        if process.poll() is None:  # we were told to end: so is the program that we started
            process.terminate()
            process.wait()


def answer(*command):
    """What a command prints, or None where it fails or does not exist."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=str(ROOT),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


# ---- Set-up: .venv, PyTorch, the course and its packages


def windows():
    return os.name == "nt"


def venv_python():
    return VENV / ("Scripts/python.exe" if windows() else "bin/python")


def stage(text, command):
    """Run one step with one line on the screen and everything else in the log; True when it worked."""
    started = time.monotonic()

    def show(end=""):
        print(f"\r  {text} ... {time.monotonic() - started:.0f} s", end=end, flush=True)

    with open(VENV / "install.log", "a", encoding="utf-8", errors="replace") as log:
        log.write("\n$ " + " ".join(str(part) for part in command) + "\n")
        log.flush()
        try:
            ok = execute(command, stdout=log, on_wait=show if sys.stdout.isatty() else None) == 0
        except OSError as error:  # the program itself is missing or damaged
            log.write(str(error))
            ok = False
    show(end="\n" if ok else ": did not work\n")
    return ok


def failure(what):
    """The sentence for a step that failed, read from what the last command logged."""
    log = (VENV / "install.log").read_text(encoding="utf-8", errors="replace").split("\n$ ")[-1]
    causes = [cause for pattern, cause in PROBLEMS if re.search(pattern, log, re.IGNORECASE)]
    if causes:
        cause = causes[0]
    else:
        cause = f"Its last line was: {log.strip().splitlines()[-1]}. Remove .venv"
    return Stop(f"{what} failed. {cause} and run the same command again. Details: .venv/install.log")


def install(what, *arguments):
    """Install with uv where it is on the PATH, else, or where that fails, with pip."""
    pip = [venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    uv = shutil.which("uv")
    if uv and stage(what + " (uv)", [uv, "pip", "install", "--python", venv_python(), *arguments]):
        return
    if not stage(what + " (pip)", pip + list(arguments)):
        raise failure("Installing " + what)


def need_room(gigabytes):
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < gigabytes:
        raise Stop(
            f"There is too little disk room: {free:.1f} GB are free in {ROOT}, and the installation "
            f"needs {gigabytes} GB. Free some and run the same command again."
        )


def make_venv():
    """Make .venv, unless there is one that works; a half-made one is removed first."""
    usable = f"import sys, pip; sys.exit(sys.version_info < {MIN_PYTHON})"
    if answer(venv_python(), "-c", usable) is not None:
        return
    uv = shutil.which("uv")
    if not uv and not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        raise Stop(
            "This Python lacks the modules venv and ensurepip. On Debian and Ubuntu, `sudo apt "
            f"install {package}` brings them; elsewhere take the Python from python.org. Then run "
            "the same command again."
        )
    need_room(ROOM_GB)
    try:
        if VENV.exists():
            print("  The folder .venv is incomplete and is made anew.")
            shutil.rmtree(str(VENV))
        VENV.mkdir()
    except OSError as error:
        raise Stop(
            f"The folder .venv in {ROOT} can not be made ({error.strerror}). Copy the course "
            "to a folder of your own, close programs that use it, and run this there."
        ) from None
    with_uv = [uv, "venv", "--seed", "--allow-existing", "--python", sys.executable, VENV]
    if uv and stage("making .venv (uv)", with_uv):
        return
    if not stage("making .venv", [sys.executable, "-m", "venv", VENV]):
        raise failure("Making .venv")


def torch_is_kept():
    """True where .venv has a PyTorch that pyproject.toml's range accepts, whoever put it there."""
    found = answer(venv_python(), "-c", "from importlib.metadata import version; print(version('torch'))")
    floor = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")).group(1)
    return bool(found) and release(found) >= release(floor)


def release(version):
    """ "2.13.0+cpu" -> (2, 13, 0)"""
    return tuple(int(number) for number in re.match(r"[\d.]*\d", version).group().split("."))


def has_nvidia():
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()


def pip_takes_cuda():
    """Whether pip would take a CUDA build of PyTorch; None where it can not say (no network, say)."""
    report = answer(
        venv_python(),
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--report",
        "-",
        "torch==" + TORCH,
    )
    if not report:
        return None
    needs = json.loads(report)["install"][0]["metadata"].get("requires_dist", [])
    here = [need for need in needs if "platform_machine" not in need or platform.machine() in need]
    return any(need.startswith(("nvidia", "cuda")) for need in here)


def install_torch():
    """The build for this machine: CUDA where there is an NVIDIA driver, else one without CUDA's gigabytes."""
    torch, python, uv = "torch==" + TORCH, venv_python(), shutil.which("uv")
    linux, nvidia = sys.platform.startswith("linux"), has_nvidia()
    with_uv = ["pip", "install", "--python", python, torch]
    if windows() and nvidia:
        if uv and stage("PyTorch for this GPU (uv)", [uv] + with_uv + ["--torch-backend=auto"]):
            return
        print(
            "  This computer has an NVIDIA GPU, but pip brings PyTorch's CPU build on Windows. For the\n"
            '  CUDA build choose Pip and CUDA in PyTorch\'s "Get Started" selector, run the command it\n'
            "  shows with .venv\\Scripts\\python -m pip, and start this again: it is kept."
        )
    if linux and not nvidia:
        cpu = with_uv + ["--torch-backend=cpu"]
        if uv and stage("PyTorch, CPU build (uv)", [uv] + cpu):
            return
        if pip_takes_cuda() is False:
            if stage("PyTorch, CPU build (pip)", [python, "-m", "pip", "install", torch]):
                return
            raise failure("Installing PyTorch")
        if stage("getting uv, which can choose a CPU build", [python, "-m", "pip", "install", "uv"]):
            if stage("PyTorch, CPU build (uv)", [python.with_name("uv")] + cpu):
                return
    if linux and pip_takes_cuda():
        print("  PyTorch comes in its CUDA build now: a download of 2 to 3 GB, several more on disk.")
        if not nvidia:
            print(
                "  This computer has no NVIDIA driver, so a CPU build (0.2 GB) would do. For that, stop\n"
                '  with Ctrl-C, choose Pip and CPU in PyTorch\'s "Get Started" selector, run the command\n'
                "  it shows with .venv/bin/python -m pip, and start this again: it is kept."
            )
        need_room(CUDA_ROOM_GB)
    install("PyTorch", torch)


def fingerprint(python_version):
    """A hash over all that decides what .venv must hold: the two lists, Python, and where the course lies."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts + [python_version.encode(), str(ROOT).encode()])).hexdigest()


def setup():
    """Make .venv complete; at once where it already is."""
    stamp = VENV / "ready"
    version = answer(venv_python(), "-c", "import platform; print(platform.python_version())")
    if version and stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint(version):
        return
    started = time.monotonic()
    print(f"Setting up LLM Foundry in {VENV}", flush=True)
    make_venv()
    install("build tools", "pip>=23.2", "setuptools>=77")
    if not torch_is_kept():
        need_room(ROOM_GB)
        install_torch()
    install("the course and its packages", "--no-build-isolation", "-c", "constraints.txt", "-e", ".[lab,test]")
    version = answer(venv_python(), "-c", "import platform; print(platform.python_version())")
    stamp.write_text(fingerprint(version), encoding="utf-8")
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)


# ---- The environment that is active


def missing_packages(extras):
    """The packages that the course needs and this environment lacks or has too old, in words."""
    import tomllib  # these two are newer than the oldest Pythons that must read this file
    from importlib.metadata import distributions

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + [line for name in extras for line in project["optional-dependencies"][name]]
    # The course's folder is on the path of this file only; the kernels of the lessons do not have it.
    paths = [path for path in sys.path if path and Path(path).resolve() != ROOT]
    missing = []
    for line in needed + [project["name"] + ">=" + project["version"]]:
        name, relation, wanted, faulty = re.fullmatch(r"([\w-]+)([>=]=)([\d.]+)(?:,!=([\d.]+))?", line).groups()
        found = [package.version for package in distributions(name=name, path=paths)][:1]
        if not found:
            missing.append(name)
            continue
        version, limit = release(found[0]), release(wanted)
        if version < limit or (relation == "==" and version != limit) or found[0] == faulty:
            missing.append(f"{name}{relation}{wanted}{faulty and ',!=' + faulty or ''} (found {found[0]})")
    return missing


def require_packages(*extras):
    """Raise Stop, which says what to install, unless the active environment has every package."""
    missing = missing_packages(extras)
    if missing:
        raise Stop(
            f"The active environment ({sys.prefix}) lacks {', '.join(missing)}. Install them with\n"
            f'    {sys.executable} -m pip install -e ".[{",".join(extras)}]"\n'
            "in the course's folder, or make the course's own environment with\n"
            "    conda env create -f environment.yml"
        )


# ---- The commands


def prepare(*extras):
    """The Python that runs a command: the active one with --here, else that of .venv, which is made complete."""
    if HERE:
        require_packages(*extras)
        return Path(sys.executable)
    setup()
    if "browser" in extras and not answer(venv_python(), "-c", "import playwright; print(1)"):
        install("the driver of the browser tests", "--no-build-isolation", "-c", "constraints.txt", "-e", ".[browser]")
    return venv_python()


def lab_command(python, folder, port=None, browser=True):
    """The command that starts JupyterLab on a folder: for this computer only, with Jupyter's token on."""
    command = [
        str(python),
        "-W",
        "ignore",
        "-m",
        "jupyterlab",
        "--log-level=WARN",
        "--ServerApp.root_dir=" + str(folder),
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.allow_remote_access=False",
        "--ServerApp.allow_unauthenticated_access=False",
        "--ServerApp.answer_yes=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]  # these three: the server asks nothing of the network
    if answer(python, "-c", "import zmq; print(zmq.has('curve'))") == "True":  # else a kernel warns of eavesdroppers
        command.append("--KernelManager.transport_encryption=auto")
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; Jupyter refuses root unless told
        command.append("--allow-root")
    return command


def quiet_settings():
    """Tell JupyterLab not to ask about news and updates; what the learner sets afterwards is kept."""
    file = Path(
        environment()["JUPYTERLAB_SETTINGS_DIR"],
        "@jupyterlab",
        "apputils-extension",
        "notification.jupyterlab-settings",
    )
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")


def port_number(text):
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1024 to 65535, found {text!r}")
    return int(text)


def run_command(name, rest):
    if name == "lab":
        parser = argparse.ArgumentParser(prog="course.py lab", allow_abbrev=False)
        parser.add_argument("--no-browser", action="store_true", help="print the address, do not open it")
        parser.add_argument("--port", type=port_number, metavar="N", help="a port of your choice")
        parser.add_argument("--fresh", nargs="+", default=[], metavar="NN", help="begin these lessons again")
        options = parser.parse_args(rest)
        python = prepare("lab", "test")
        quiet_settings()
        print("JupyterLab is starting. Ctrl-C in this window ends it.", flush=True)
        fresh = ["--fresh"] + options.fresh if options.fresh else []
        code = execute([python, "-m", "foundry_lib.lessons.prepare_work"] + fresh)
        if code:
            return code
        command = lab_command(python, ROOT / "work", options.port, not options.no_browser)
        return execute(command + ["--LabApp.default_url=/lab/tree/start.ipynb"])
    if name == "test":
        python = prepare("lab", "test", *(["browser"] if "--browser" in rest else []))
        return execute([python, "-m", "pytest"] + [part for part in rest if part != "--browser"])
    python = prepare("lab", "test")
    if name == "check":
        return execute([python, "-m", "foundry_lib.instructor.check"] + rest)
    if name == "faults":
        return execute([python, ROOT / "tests" / "faults" / "run.py"] + rest)
    return execute([python, "-m", "foundry_lib.instructor.refresh"] + rest)


def main(arguments):
    global HERE
    HERE = "--here" in arguments
    arguments = [part for part in arguments if part != "--here"]
    if sys.version_info < MIN_PYTHON:
        print(
            f"LLM Foundry needs Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer, and this is Python "
            f"{platform.python_version()}. Install a newer one (python.org, or your system's packages) "
            "and use it here, for example: python3.12 course.py lab",
            file=sys.stderr,
        )
        return 1
    if not arguments or arguments[0] not in ("lab", "test", "check", "refresh", "faults"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended too
    try:
        return run_command(arguments[0], arguments[1:])
    except Stop as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 0 if arguments[0] == "lab" else 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
