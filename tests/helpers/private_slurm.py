"""A real Slurm of a few nodes on one machine, up in a second: root, no systemd, no cgroups, nothing outside its folder.

    python -m tests.helpers.private_slurm start FOLDER [--accounting]       # by hand; … stop FOLDER

Every node is a slurmd in a separate UTS and mount namespace, so that `hostname` says n1, n2 … and those names
resolve, while the machine's own /etc/hosts stays as it is. Nodes share the file system and the ports. CPUs, memory
and GPUs are what the configuration says, not what the machine has.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "unshare")
_ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "sacct", "mariadbd", "mariadb-install-db")
_CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job may start again only when its old credential has expired: 5 s instead of 120
AuthInfo=socket={munge},cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
TreeWidth=65533
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1,bf_min_age_reserve=0
PriorityType=priority/basic
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=8
MessageTimeout=5
BatchStartTimeout=10
TCPTimeout=2
KillWait=2
UnkillableStepTimeout=10
CompleteWait=0
InactiveLimit=0
MinJobAge={memory_s}
OverTimeLimit=0
JobRequeue=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobCompType=jobcomp/none
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=10-0 DefaultTime=10 State=UP PriorityTier=10 OverSubscribe=NO
PartitionName=low Nodes=ALL MaxTime=10-0 DefaultTime=10 State=UP PriorityTier=1 GraceTime=0
PartitionName=high Nodes=ALL MaxTime=10-0 DefaultTime=10 State=UP PriorityTier=100 PreemptMode=OFF
PartitionName=closed Nodes=ALL MaxTime=10-0 State=UP AllowAccounts=nobody
PartitionName=short Nodes=ALL MaxTime=5 DefaultTime=5 State=UP PriorityTier=10
{accounting}
"""
_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs=64 SocketsPerBoard=1 CoresPerSocket=64 RealMemory=512000 Gres=gpu:8"
)
_NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={munge}"""
_DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
CommitDelay=0
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=accounting
"""
_SQL = """\
CREATE DATABASE IF NOT EXISTS accounting;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON accounting.* TO 'slurm'@'127.0.0.1';
"""


def why_not(accounting: bool = False) -> str:
    """Return why a private Slurm cannot be started here; empty when it can."""
    missing = [one for one in _PROGRAMS + (_ACCOUNTING_PROGRAMS if accounting else ()) if not shutil.which(one)]
    if missing:
        packages = "slurm-wlm munge" + (" slurmdbd mariadb-server" if accounting else "")
        return f"no {', '.join(missing)} here: apt-get install --no-install-recommends {packages}"
    if os.geteuid() != 0:
        return "a private Slurm needs root"
    if subprocess.run(["unshare", "--uts", "--mount", "true"], capture_output=True).returncode:
        return "this machine does not let us make namespaces (unshare --uts --mount)"
    return ""


class PrivateSlurm:
    """start(), stop(), and a cluster's accidents: cut_power(node), start_node(node). Partitions: main, low and high
    (high preempts low by requeueing it), short (5 minutes at most), closed (to everyone)."""

    def __init__(
        self,
        folder: Path | str,
        nodes: int = 4,
        accounting: bool = False,
        memory_s: int = 600,
        name: str = "tests",
        beside: PrivateSlurm | None = None,
    ):
        """memory_s: seconds for which slurmctld remembers an ended job. name: the cluster's.

        beside: a running cluster with accounting, whose database and munge this one shares; -M then names either.
        """
        self.folder, self.accounting, self.memory_s = Path(folder).resolve(), accounting, memory_s
        self.name, self.beside = name, beside
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.conf = self.folder / "etc" / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}

    def start(self) -> PrivateSlurm:
        """Start every daemon and wait until all nodes are idle."""
        self._write_files()
        try:
            if not self.beside:
                self._start_munge()
            if self.accounting:
                self._start_accounting()
            if self.accounting or self.beside:
                self._run("sacctmgr", "-i", "add", "cluster", self.name)
            self._run("slurmctld")
            self._await(lambda: "UP" in self._run("scontrol", "ping", check=False), "slurmctld does not answer")
            for node in self.nodes:
                self.start_node(node)
            self._await(lambda: self._idle() == len(self.nodes), "not all nodes came up")
            self._stop_with(os.getpid())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what start() started, by pid file, jobs first."""
        self._run("scancel", "--user=root", check=False)
        with suppress(TimeoutError):
            self._await(lambda: not self._run("squeue", "-h", check=False).strip(), "", timeout_s=5)
        order = [
            *sorted(self._pid_files("slurmd-*")),
            *(one for name in ("slurmctld", "slurmdbd", "mariadbd", "munged") for one in self._pid_files(name)),
        ]
        pids = [pid for path in order if (pid := self._own_pid(path))]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            end = time.time() + 5
            while _alive(pid) and time.time() < end:
                time.sleep(0.02)
            if _alive(pid):
                os.kill(pid, signal.SIGKILL)
        for path in order:
            path.unlink(missing_ok=True)

    def start_node(self, node: str) -> None:
        """Start one node's slurmd; it forks itself and writes its pid file."""
        script = 'mount --bind "$1" /etc/hosts && hostname "$0" && exec slurmd -N "$0"'
        self._run("unshare", "--uts", "--mount", "sh", "-c", script, node, str(self.folder / "etc" / "hosts"))

    def cut_power(self, node: str) -> None:
        """kill -9 the node's slurmd and every process in its namespace."""
        path = self.folder / "run" / f"slurmd-{node}.pid"
        space = os.readlink(f"/proc/{self._own_pid(path)}/ns/uts")
        assert space != os.readlink("/proc/self/ns/uts"), "the node shares our namespace"
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(process / "ns" / "uts") == space:
                    os.kill(int(process.name), signal.SIGKILL)
        path.unlink()

    def _write_files(self) -> None:
        for name in ("etc", "run", "log", "state", "munge", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "munge").chmod(0o700)
        port = _free_ports(len(self.nodes) + 3)
        self._dbd_port, self._sql_port = self.beside._dbd_port if self.beside else port + 1, port + 2
        given = {
            "name": self.name,
            "host": socket.gethostname(),
            "folder": self.folder,
            "munge": (self.beside or self).folder / "run" / "munge.socket",
            "port": port,
            "dbd_port": self._dbd_port,
            "sql_port": self._sql_port,
            "memory_s": self.memory_s,
        }
        given["accounting"] = (_ACCOUNTING if self.accounting or self.beside else _NO_ACCOUNTING).format(**given)
        nodes = [
            _NODE.format(name=node, host=given["host"], port=port + 3 + number)
            for number, node in enumerate(self.nodes)
        ]
        etc = self.folder / "etc"
        self.conf.write_text(_CONF.format(**given) + "\n".join(nodes) + "\n")
        for gpu in range(8):  # a GPU in name only: a copy of /dev/null; Slurm reads the digit as its index
            with suppress(FileExistsError):
                os.mknod(self.folder / "etc" / f"gpu{gpu}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (etc / "gres.conf").write_text(f"NodeName={','.join(self.nodes)} Name=gpu File={etc}/gpu[0-7]\n")
        (etc / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (etc / "hosts").write_text(Path("/etc/hosts").read_text() + f"\n127.0.0.1 {' '.join(self.nodes)}\n")
        (etc / "slurmdbd.conf").write_text(_DBD_CONF.format(**given))
        (etc / "slurmdbd.conf").chmod(0o600)
        (etc / "accounting.sql").write_text(_SQL)

    def _start_munge(self) -> None:
        key = self.folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        run = self.folder / "run"
        self._run(
            "munged",
            "--force",
            "-S",
            f"{run}/munge.socket",
            f"--key-file={key}",
            f"--pid-file={run}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={self.folder}/munge/seed",
        )

    def _start_accounting(self) -> None:
        """Start a private MariaDB and slurmdbd on top of it."""
        data, run, log = (self.folder / name for name in ("mysql", "run", "log"))
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            "--skip-name-resolve",
        )
        with open(log / "mariadbd.log", "wb") as output:
            subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    "--user=root",
                    f"--datadir={data}",
                    f"--socket={run}/mysql.sock",
                    f"--pid-file={run}/mariadbd.pid",
                    "--bind-address=127.0.0.1",
                    f"--port={self._sql_port}",
                    "--skip-name-resolve",
                    f"--init-file={self.folder}/etc/accounting.sql",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=64M",
                    "--innodb-lock-wait-timeout=900",
                ],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self.environment,
            )
        self._await(lambda: not _is_free(self._sql_port), "mariadbd does not listen")
        self._run("slurmdbd")
        self._await(
            lambda: not self._run("sacctmgr", "-n", "show", "cluster", check=None).startswith("!"),
            "slurmdbd does not answer",
        )

    def _idle(self) -> int:
        return self._run("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N", check=False).count("\n")

    def _pid_files(self, name: str) -> list[Path]:
        return list((self.folder / "run").glob(f"{name}.pid"))

    def _own_pid(self, path: Path) -> int | None:
        """Return the pid in a pid file if that process is alive and was started with our folder's name."""
        with suppress(OSError, ValueError):
            pid = int(path.read_text())
            told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            if os.fsencode(self.folder) in told:
                return pid
        return None

    def _stop_with(self, owner: int) -> None:
        """Stop the cluster when the process that started it is killed; one started by hand stays."""
        if "pytest" in sys.modules:
            code = (
                "import os, sys, time\nfrom tests.helpers.private_slurm import PrivateSlurm, _alive\n"
                "while _alive(int(sys.argv[1])): time.sleep(1)\nPrivateSlurm(sys.argv[2]).stop()"
            )
            subprocess.Popen(
                [sys.executable, "-c", code, str(owner), str(self.folder)],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
            )

    def _run(self, *command: str, check: bool | None = True) -> str:
        """Return what a command prints; check=None: "!" and its error when it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode and check:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}\n{self._logs()}")
        return f"!{done.stderr}" if done.returncode and check is None else done.stdout

    def _await(self, ready, complaint: str, timeout_s: float = 30) -> None:
        end = time.time() + timeout_s
        while not ready():
            if time.time() > end:
                raise TimeoutError(f"{complaint}\n{self._logs()}")
            time.sleep(0.05)

    def _logs(self) -> str:
        return "\n".join(
            f"{path.name}: {' | '.join(path.read_text(errors='replace').splitlines()[-4:])}"
            for path in sorted((self.folder / "log").glob("*.log"))
        )


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def _free_ports(count: int) -> int:
    """Return the first port of a free block: a node whose port is taken would stay down."""
    for _ in range(100):
        first = 17000 + secrets.randbelow(14000)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"found no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return False
        return True


def main() -> None:
    """Start or stop a cluster by hand; print the environment variable that points Slurm's commands to it."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.private_slurm", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("folder", help="where the cluster keeps its files")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd: a true sacct")
    parser.add_argument("--nodes", type=int, default=4)
    options = parser.parse_args()
    cluster = PrivateSlurm(options.folder, nodes=options.nodes, accounting=options.accounting)
    if options.action == "stop":
        cluster.stop()
    elif reason := why_not(options.accounting):
        sys.exit(reason)
    else:
        cluster.start()
        print(f"export SLURM_CONF={cluster.conf}")


if __name__ == "__main__":
    main()
