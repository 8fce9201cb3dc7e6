"""The launcher: what it says when something is missing, which PyTorch it takes, how private its server is."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import course  # noqa: E402


class Machine:
    """A pretended machine: `execute` and `answer`, the two places where the launcher runs other programs.

    `fails` maps a word of a command line to what that command writes before it fails. `installed` is the
    torch in .venv, `report` what pip would take.
    """

    def __init__(self):
        self.ran, self.fails, self.installed, self.report, self.venv_works = [], {}, None, None, False

    def execute(self, command, stdout=None, on_wait=None):
        line = " ".join(str(part) for part in command)
        self.ran.append(line)
        for word, message in self.fails.items():
            if re.search(word, line):
                stdout.write(message + "\n")
                return 1
        if " -m venv " in line or " venv --seed " in line:
            self.venv_works = True
        return 0

    def answer(self, *command):
        line = " ".join(str(part) for part in command)
        if not self.venv_works:
            return None
        if "--dry-run" in line:
            return json.dumps({"install": [{"metadata": {"requires_dist": self.report}}]}) if self.report else None
        if "version('torch')" in line:
            return self.installed
        return "3.12.1" if "python_version" in line else ""

    def ran_with(self, *words):
        return [line for line in self.ran if all(word in line for word in words)]


CPU_BUILD, CUDA_BUILD = ["filelock"], ["filelock", 'nvidia-nccl-cu13==2.29; platform_system == "Linux"']


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A copy of the course in an empty folder, on a Linux machine without uv and without an NVIDIA driver."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    pretended = Machine()
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(course, "execute", pretended.execute)
    monkeypatch.setattr(course, "answer", pretended.answer)
    monkeypatch.setattr(course, "has_nvidia", lambda: False)
    monkeypatch.setattr(course.sys, "platform", "linux")
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    return pretended


def with_uv(monkeypatch):
    monkeypatch.setattr(course.shutil, "which", lambda name: "/pretended/uv" if name == "uv" else None)


# ---- What it says


def say(*arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, str(ROOT / "course.py"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [[], ["help"], ["Lab"], ["--port", "8888"]])
def test_usage_for_no_or_an_unknown_command(arguments):
    code, text = say(*arguments)
    assert code == 2
    assert all(f"course.py {name}" in text for name in ("lab", "test", "check", "refresh", "faults"))


@pytest.mark.parametrize(
    "rest",
    [
        ["--port", "80"],
        ["--port", "70000"],
        ["--port", "x"],
        ["--port"],
        ["--ip=0.0.0.0"],
        ["--no-b"],
        ["--IdentityProvider.token="],
        ["--ServerApp.token="],
        ["somewhere"],
        ["--", "--ip=0.0.0.0"],
    ],
)
def test_lab_takes_two_options_and_nothing_else(rest):
    code, text = say("lab", *rest)
    assert code == 2 and "course.py lab: error" in text


def test_python_too_old(monkeypatch, capsys):
    monkeypatch.setattr(course.sys, "version_info", (3, 10, 2))
    assert course.main(["lab"]) == 1
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_no_venv_module_names_the_package_to_install(machine, monkeypatch, missing, capsys):
    monkeypatch.setattr(course.importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert course.main(["test"]) == 1
    assert f"apt install python3.{sys.version_info.minor}-venv" in capsys.readouterr().err
    assert not machine.ran, "nothing is started before the requirement is there"


def test_uv_makes_the_venv_where_python_can_not(machine, monkeypatch):
    monkeypatch.setattr(course.importlib.util, "find_spec", lambda name: None)
    with_uv(monkeypatch)
    course.setup()
    assert machine.ran_with("uv venv") and machine.ran_with("uv pip install", ".[lab,test]")


def test_disk_full(machine, monkeypatch, capsys):
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1.2e9}))
    assert course.main(["lab"]) == 1
    assert re.search(r"1\.2 GB are free .* needs 3 GB", capsys.readouterr().err)
    assert not machine.ran


def test_folder_not_writable(machine, monkeypatch, capsys):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert course.main(["lab"]) == 1
    assert "can not be made (Permission denied)" in capsys.readouterr().err
    assert not machine.ran


@pytest.mark.parametrize(
    ("command", "log", "sentence"),
    [
        (
            "torch==",
            "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "package index can not be reached. Connect to the network",
        ),
        (r"\.\[lab,test\]", "error: Request failed\n  cause: dns error", "package index can not be reached"),
        (
            r"\.\[lab,test\]",
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full. Free 3 GB",
        ),
        ("torch==", "ERROR: No matching distribution found for torch==2.13.0", "no build for this Python"),
        (r"\.\[lab,test\]", "ERROR: something odd", "Its last line was: ERROR: something odd."),
    ],
)
def test_a_failed_install_is_one_sentence_with_what_to_do(machine, command, log, sentence, capsys):
    machine.report = CPU_BUILD
    machine.fails[command] = log
    assert course.main(["test"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line and "run the same command again" in line and ".venv/install.log" in line
    assert log in (course.VENV / "install.log").read_text(encoding="utf-8")
    assert not (course.VENV / "ready").exists(), "a failed set-up must not count as done"
    machine.fails.clear()
    assert course.main(["test"]) == 0, "and the same command goes on where it stopped"
    assert (course.VENV / "ready").exists()


def test_the_cause_is_read_from_the_last_command_only(machine, monkeypatch, capsys):
    with_uv(monkeypatch)
    machine.report = CPU_BUILD
    machine.fails = {
        "torch-backend": "dns error",
        r"-m pip .*\.\[lab,test\]": "ERROR: odd",
        r"uv pip .*\.\[lab,test\]": "dns error",
    }
    assert course.main(["test"]) == 1
    assert "Its last line was: ERROR: odd." in capsys.readouterr().err


# ---- The stamp


def test_second_start_runs_nothing_but_the_command(machine):
    assert course.main(["test", "-k", "rope"]) == 0
    assert machine.ran[-1].endswith("-m pytest -k rope") and len(machine.ran) > 3
    machine.ran.clear()
    assert course.main(["test", "-x"]) == 0
    assert machine.ran == [f"{course.venv_python()} -m pytest -x"]


def test_the_browser_tests_bring_their_driver(machine):
    assert course.main(["test", "-k", "rope", "--browser"]) == 0
    assert machine.ran[-2].endswith("-c constraints.txt -e .[browser]"), "after the course itself"
    assert machine.ran[-1].endswith("-m pytest -k rope")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_is_installed_again(machine, name):
    course.setup()
    machine.ran.clear()
    with open(course.ROOT / name, "a", encoding="utf-8") as file:
        file.write("# changed\n")
    course.setup()
    assert machine.ran_with(".[lab,test]") and not machine.ran_with(" -m venv ")


def test_a_moved_course_is_installed_again(machine, tmp_path, monkeypatch):
    course.setup()
    machine.ran.clear()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("pyproject.toml", "constraints.txt", ".venv"):
        (tmp_path / name).rename(moved / name)
    monkeypatch.setattr(course, "ROOT", moved)
    monkeypatch.setattr(course, "VENV", moved / ".venv")
    course.setup()
    assert machine.ran_with(".[lab,test]")


def test_a_broken_venv_is_made_anew(machine, capsys):
    course.VENV.mkdir()
    (course.VENV / "half").write_text("made", encoding="utf-8")
    course.setup()
    assert "incomplete" in capsys.readouterr().out
    assert not (course.VENV / "half").exists() and machine.ran_with(" -m venv ")


@pytest.mark.parametrize(
    ("command", "program"),
    [("check", "-m foundry_lib.instructor.check 01_rms_norm"), ("faults", "run.py 01_rms_norm")],
)
def test_check_and_faults_are_passed_on(machine, command, program):
    assert course.main(["test"]) == 0
    machine.ran.clear()
    assert course.main([command, "01_rms_norm"]) == 0
    (line,) = machine.ran
    assert line.endswith(program)


def test_exit_code_of_the_tests_is_passed_on(machine):
    course.setup()
    course.execute = lambda command: 5  # the fixture's monkeypatch restores it
    assert course.main(["test"]) == 5


def test_a_real_program_is_run_and_its_output_kept(tmp_path, monkeypatch, capsys):
    """The edge that the other tests replace: exit code, log and the one line on the screen."""
    monkeypatch.setattr(course, "VENV", tmp_path)
    assert course.stage("good", [sys.executable, "-c", "print('from inside')"])
    assert not course.stage("bad", [sys.executable, "-c", "raise SystemExit('no luck')"])
    assert not course.stage("gone", [str(tmp_path / "no-such-program")])
    log = (tmp_path / "install.log").read_text(encoding="utf-8")
    assert "from inside" in log and "no luck" in log
    assert re.findall(r"(good|bad|gone) \.\.\. 0 s(: did not work)?", capsys.readouterr().out) == [
        ("good", ""),
        ("bad", ": did not work"),
        ("gone", ": did not work"),
    ]
    assert course.answer(sys.executable, "-c", "print('的')") == "的"
    assert course.answer(sys.executable, "-c", "raise SystemExit(1)") is None
    assert course.answer(tmp_path / "no-such-program") is None


# ---- Which PyTorch


def torch_installs(machine):
    return [line for line in machine.ran if "torch==" in line]


def test_a_torch_that_satisfies_the_range_is_kept(machine):
    machine.installed = "2.6.0+cu124"
    course.setup()
    assert not torch_installs(machine)


def test_a_torch_below_the_range_is_replaced(machine):
    machine.installed, machine.report = "2.5.1", CPU_BUILD
    course.setup()
    assert len(torch_installs(machine)) == 1


def test_uv_is_asked_for_a_cpu_build(machine, monkeypatch):
    with_uv(monkeypatch)
    course.setup()
    (line,) = torch_installs(machine)
    assert line.startswith("/pretended/uv") and "--torch-backend=cpu" in line


def test_uv_without_the_index_falls_back_to_the_cpu_build_that_pip_has(machine, monkeypatch):
    with_uv(monkeypatch)
    machine.fails["torch-backend"], machine.report = "dns error", CPU_BUILD
    course.setup()
    assert " -m pip install torch==" in torch_installs(machine)[-1]


def test_pip_takes_a_cpu_build_where_it_has_one(machine, capsys):
    machine.report = CPU_BUILD
    course.setup()
    (line,) = torch_installs(machine)
    assert " -m pip install torch==" in line and not machine.ran_with("install uv")
    assert "GB" not in capsys.readouterr().out


def test_pip_would_take_cuda_so_uv_is_fetched(machine, capsys):
    machine.report = CUDA_BUILD
    course.setup()
    (line,) = torch_installs(machine)
    assert str(course.venv_python().with_name("uv")) in line and "--torch-backend=cpu" in line
    assert "GB" not in capsys.readouterr().out


def test_a_large_download_is_announced_before_it_starts(machine, capsys, monkeypatch):
    machine.report, machine.fails["torch-backend"] = CUDA_BUILD, "dns error"
    said = []
    run = machine.execute

    def execute(command, **options):
        said.append(capsys.readouterr().out)
        return run(command, **options)

    monkeypatch.setattr(course, "execute", execute)
    course.setup()
    before = "".join(said[: machine.ran.index(torch_installs(machine)[-1]) + 1])
    assert "2 to 3 GB" in before and "no NVIDIA driver" in before and "Get Started" in before


def test_the_cuda_build_needs_more_room(machine, monkeypatch):
    monkeypatch.setattr(course, "has_nvidia", lambda: True)
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 6e9}))
    machine.report = CUDA_BUILD
    with pytest.raises(course.Stop, match="6.0 GB are free .* needs 10 GB"):
        course.setup()


def test_nvidia_on_linux_gets_the_cuda_build(machine, monkeypatch, capsys):
    monkeypatch.setattr(course, "has_nvidia", lambda: True)
    machine.report = CUDA_BUILD
    course.setup()
    (line,) = torch_installs(machine)
    assert " -m pip install " in line and "backend" not in line
    said = capsys.readouterr().out
    assert "2 to 3 GB" in said and "no NVIDIA driver" not in said


def test_macos_asks_no_questions(machine, monkeypatch):
    monkeypatch.setattr(course.sys, "platform", "darwin")
    course.setup()
    (line,) = torch_installs(machine)
    assert "backend" not in line


@pytest.mark.parametrize("uv", [True, False])
def test_nvidia_on_windows(machine, monkeypatch, capsys, uv):
    monkeypatch.setattr(course, "has_nvidia", lambda: True)
    monkeypatch.setattr(course, "windows", lambda: True)
    monkeypatch.setattr(course.sys, "platform", "win32")
    if uv:
        with_uv(monkeypatch)
    course.setup()
    (line,) = torch_installs(machine)
    assert ("--torch-backend=auto" in line) == uv
    assert ("Get Started" in capsys.readouterr().out) == (not uv)


def test_arm_machines_are_not_taken_for_cuda(machine, monkeypatch):
    machine.venv_works = True
    machine.report = ['nvidia-nccl-cu13==2.29; platform_machine == "x86_64"']
    monkeypatch.setattr(course.platform, "machine", lambda: "aarch64")
    assert course.pip_takes_cuda() is False
    monkeypatch.setattr(course.platform, "machine", lambda: "x86_64")
    assert course.pip_takes_cuda() is True
    machine.report = None
    assert course.pip_takes_cuda() is None


@pytest.mark.parametrize(("text", "parts"), [("2.13.0+cpu", (2, 13, 0)), ("2.6", (2, 6)), ("2.10.0a0", (2, 10, 0))])
def test_release(text, parts):
    assert course.release(text) == parts


# ---- The environment that is active


@pytest.fixture
def active(machine, monkeypatch):
    """--here in an environment that has what the course needs, but for what a test puts into `lacks` or `old`."""
    versions = {"lacks": set(), "old": {}}

    def distributions(name, path):
        assert str(course.ROOT) not in path, "the course's folder is not where a kernel looks"
        if name not in versions["lacks"]:
            wanted = re.search(rf'"{name}[>=]=([\d.]+)[",]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
            yield type("Package", (), {"version": versions["old"].get(name, wanted[1] if wanted else "0.1.0")})

    monkeypatch.setattr("importlib.metadata.distributions", distributions)
    monkeypatch.setattr(course, "HERE", False)  # main sets it; the fixture takes it back
    return versions


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (["--here", "lab", "--no-browser"], "-m jupyterlab"),
        (["--here", "test", "-k", "rope"], "-m pytest -k rope"),
        (["--here", "check", "01"], "check 01"),
        (["check", "01", "--here"], "check 01"),
        (["--here", "refresh", "01"], "refresh 01"),
        (["--here", "faults", "rope"], "run.py rope"),
    ],
)
def test_here_runs_with_this_python_and_installs_nothing(machine, active, arguments, program):
    assert course.main(arguments) == 0
    assert all(line.startswith(sys.executable) for line in machine.ran) and program in machine.ran[-1]
    assert not course.VENV.exists()


def test_lab_makes_the_copies_and_opens_the_start_page(machine, active):
    assert course.main(["--here", "lab", "--fresh", "06", "07", "--port", "8899"]) == 0
    copies, lab = machine.ran
    assert copies.endswith("-m foundry_lib.lessons.prepare_work --fresh 06 07")
    assert f"root_dir={course.ROOT / 'work'}" in lab and "port=8899" in lab
    assert lab.endswith("default_url=/lab/tree/start.ipynb")


def test_lab_opens_nothing_where_the_copies_cannot_be_made(machine, active, monkeypatch):
    monkeypatch.setattr(course, "execute", lambda command: machine.ran.append(command) or 2)
    assert course.main(["--here", "lab"]) == 2 and len(machine.ran) == 1


def test_here_says_what_is_missing_and_the_command_that_installs_it(machine, active, capsys):
    active["lacks"], active["old"] = {"nbval", "llm-foundry"}, {"torch": "2.4.1+cpu"}
    assert course.main(["--here", "test"]) == 1
    text = capsys.readouterr().err
    assert "lacks torch>=2.6 (found 2.4.1+cpu), nbval, llm-foundry." in text
    assert f'{sys.executable} -m pip install -e ".[lab,test]"' in text and "conda env create" in text
    assert not machine.ran and not course.VENV.exists()


def test_here_wants_the_browser_s_driver_only_for_the_browser(machine, active, capsys):
    active["lacks"] = {"playwright"}
    assert course.main(["--here", "test"]) == 0
    assert course.main(["--here", "test", "--browser"]) == 1
    assert "lacks playwright." in capsys.readouterr().err and len(machine.ran) == 1


def test_here_takes_another_nbval_for_a_missing_one(machine, active, capsys):
    active["old"] = {"nbval": "0.12.0"}  # the course's conftest is written for one version
    assert course.main(["--here", "check"]) == 1
    assert "lacks nbval==0.11.0 (found 0.12.0)." in capsys.readouterr().err


def test_here_keeps_the_variables_by_which_an_environment_finds_its_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("JUPYTER_TOKEN", "x")
    assert "PYTHONPATH" not in course.environment()
    monkeypatch.setattr(course, "HERE", True)
    environment = course.environment()
    assert environment["PYTHONPATH"] == "/somewhere" and "JUPYTER_TOKEN" not in environment
    assert str(course.VENV) not in environment["JUPYTER_CONFIG_DIR"]


# ---- The server


def get(url, method="GET", **headers):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is not asked for 127.0.0.1
    try:
        with direct.open(urllib.request.Request(url, headers=headers, method=method), timeout=20) as response:
            return response.status, response.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, ""


WATCH = """
import sys

def note(event, details):
    if event in ("socket.getaddrinfo", "socket.connect"):
        host = details[0] if event == "socket.getaddrinfo" else details[1][0]
        if host not in (None, "", "127.0.0.1", "localhost"):
            with open({file!r}, "a", encoding="utf-8") as file:
                print(event, details, file=file)

sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab started as `lab` starts it, in an account whose own configuration opens everything."""
    home = tmp_path_factory.mktemp("home")
    (home / ".jupyter").mkdir()
    settings = {
        "ip": "0.0.0.0",
        "allow_remote_access": True,
        "disable_check_xsrf": True,
        "token": "",
        "password": "",
    }
    config = {"ServerApp": settings, "IdentityProvider": {"token": ""}}
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json", "jupyter_config.json"):
        (home / ".jupyter" / name).write_text(json.dumps(config), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    patch = pytest.MonkeyPatch()
    for name, value in {
        "HOME": home,
        "USERPROFILE": home,
        "JUPYTER_TOKEN": "x",
        "JUPYTER_IP": "0.0.0.0",
        "JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS": "1",
        "JUPYTER_CONFIG_DIR": home / ".jupyter",
        "JUPYTER_CONFIG_PATH": home / ".jupyter",
    }.items():
        patch.setenv(name, str(value))
    patch.setattr(course, "VENV", tmp_path_factory.mktemp("venv"))
    (home / "sitecustomize.py").write_text(WATCH.format(file=str(home / "calls.txt")), encoding="utf-8")
    env = dict(course.environment(), PYTHONPATH=str(home))  # notes each look-up of a name and each connection outside
    log = open(home / "lab.log", "w+", encoding="utf-8")
    process = subprocess.Popen(
        course.lab_command(sys.executable, ROOT / "notebooks", port, browser=False),
        env=env,
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        address = None
        deadline = time.monotonic() + 90
        while address is None:
            text = (home / "lab.log").read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None and time.monotonic() < deadline, text
            address = re.search(rf"http://127\.0\.0\.1:{port}/lab\?token=([0-9a-f]+)", text)
            time.sleep(0.2)
        yield process, port, address[1], home / "calls.txt"
    finally:
        process.terminate()
        process.wait(20)
        log.close()
        patch.undo()


def test_server_listens_on_loopback_only(server):
    process, port, *_ = server
    listening = {c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert ("127.0.0.1", port) in {tuple(address) for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_server_wants_the_token(server):
    _, port, token, _ = server
    address = f"http://127.0.0.1:{port}/api/contents"
    assert len(token) >= 32
    assert get(address)[0] == 403
    assert get(address + "?token=")[0] == 403
    assert get(address, Authorization="token x")[0] == 403
    assert get(address, Authorization=f"token {token}")[0] == 200


def test_server_refuses_a_foreign_host_name(server):
    """A page elsewhere whose name is made to point to 127.0.0.1 must not reach the server."""
    _, port, token, _ = server
    address = f"http://127.0.0.1:{port}/api/contents"
    assert get(address, Host=f"evil.example:{port}", Authorization=f"token {token}")[0] == 403
    assert get(address, Host=f"localhost:{port}", Authorization=f"token {token}")[0] == 200


def ask(port, method, path, host, **headers):
    """The status of one request, sent as it stands: urllib would correct the Host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers={"Host": host, **headers})
        return connection.getresponse().status
    finally:
        connection.close()


DOORS = [  # method, path, what is right there: a page, a file, an order to run code, a line to a kernel
    ("GET", "/lab", 200),
    ("GET", "/files/00_setup_check.ipynb", 200),
    ("POST", "/api/kernels", 201),
    ("GET", "/api/kernels/{kernel}/channels", 101),
]


def test_every_door_wants_token_and_host(server):
    """The outcome of each request, right in all and with one thing wrong."""
    _, port, token, _ = server
    here, right = f"127.0.0.1:{port}", {"Authorization": f"token {token}"}
    status, text = get(f"http://{here}/api/kernels", "POST", **right)
    kernel = json.loads(text)["id"]
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    for method, path, good in DOORS:
        path = path.format(kernel=kernel)
        more = upgrade if good == 101 else {}
        assert ask(port, method, path, here, **right, **more) == good, path
        assert ask(port, method, path, "evil.example", **right, **more) == 403, path
        assert ask(port, method, path, f"192.0.2.7:{port}", **right, **more) == 403, path
        refused = (302,) if good == 200 else (403,)  # what one looks at leads to the page that asks for the token
        assert ask(port, method, path, here, **more) in refused, path
        assert ask(port, method, path, here, Authorization="token " + "0" * len(token), **more) in refused, path
    foreign = {"Origin": "http://evil.example", "Cookie": "_xsrf=1"}
    assert ask(port, "POST", "/api/kernels", here, **foreign) in (403, 404), "a page elsewhere, in this browser"


def test_server_and_kernels_are_not_reached_from_outside(server):
    process, port, token, _ = server
    assert ask(port, "POST", "/api/kernels", f"127.0.0.1:{port}", Authorization=f"token {token}") == 201
    deadline, kernels = time.monotonic() + 60, []
    while not kernels and time.monotonic() < deadline:
        time.sleep(0.2)
        for child in psutil.Process(process.pid).children(recursive=True):
            kernels += [c.laddr for c in child.net_connections() if c.status == psutil.CONN_LISTEN]
    assert kernels and {address.ip for address in kernels} <= {"127.0.0.1", "::1"}
    outside = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family == socket.AF_INET]
    for address in set(outside) - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=3).close()


def test_server_shows_the_lessons(server):
    _, port, token, _ = server
    status, text = get(f"http://127.0.0.1:{port}/api/contents", Authorization=f"token {token}")
    names = {entry["name"] for entry in json.loads(text)["content"]}
    assert names == {path.name for path in (ROOT / "notebooks").iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("question", ["news", "update", "extensions?refresh=1"])
def test_server_asks_nothing_of_the_network(server, question):
    _, port, token, calls = server
    status, _ = get(f"http://127.0.0.1:{port}/lab/api/{question}", Authorization=f"token {token}")
    assert status == 200
    assert not calls.exists(), calls.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ending_the_launcher_ends_what_it_started(tmp_path):
    """A launcher that is told to end takes JupyterLab with it."""
    program = (
        "import course, sys, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
        "course.execute([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline().strip() == b"1"
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    child.wait(10)


def test_lab_asks_nothing_about_news_and_keeps_what_the_learner_set(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "VENV", tmp_path)
    course.quiet_settings()
    (file,) = tmp_path.rglob("notification.jupyterlab-settings")
    assert file.read_text(encoding="utf-8") == '{"fetchNews": "false", "checkForUpdates": false}'
    file.write_text("{}", encoding="utf-8")
    course.quiet_settings()
    assert file.read_text(encoding="utf-8") == "{}"
