"""What a program in the place of the daemon can do. Prints a line for whatever it can do and must not, or cannot and must."""

import ctypes
import mmap
import os
import shutil
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, PTRACE_TRACEME, AF_PACKET, ETH_P_ALL = 0x10000000, 0, 17, 3


def no(attempt):
    """Whether `attempt` is refused; in a process of its own, since some of them leave marks."""
    return not works(attempt)


def works(attempt):
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        try:
            attempt()
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def write(path):
    with open(path, "a"):
        pass


def run_a_copy(folder):
    copy = shutil.copy("/usr/bin/true", os.path.join(folder, "copy"))
    os.execv(copy, [copy])


def see_others():
    if not any(name.isdigit() and int(name) not in (os.getpid(), os.getppid()) for name in os.listdir("/proc")):
        raise OSError("there is nobody else")


def be_privileged():
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    if all(status[key].strip() == value for key, value in wanted.items()):
        raise OSError("it has no privilege")


WRITE_AND_RUN = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
EXPECTED = {
    "write /etc": lambda: no(lambda: write("/etc/authdrift/x")),
    "write /usr": lambda: no(lambda: write("/usr/x")),
    "write its own program": lambda: no(lambda: write("/usr/bin/authdrift")),
    "read /root": lambda: no(lambda: os.listdir("/root")),
    "read /home": lambda: no(lambda: os.listdir("/home/somebody")),
    "read the files of credentials": lambda: no(lambda: os.listdir("/etc/authdrift/credentials")),
    "run a shell": lambda: no(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"])),
    "run another program": lambda: no(lambda: os.execv("/usr/bin/true", ["true"])),
    "run what it wrote into its state": lambda: no(lambda: run_a_copy("/var/lib/authdrift")),
    "run what it wrote beside its socket": lambda: no(lambda: run_a_copy("/run/authdrift")),
    "run what it wrote into /tmp": lambda: no(lambda: run_a_copy("/tmp")),
    "run what it wrote into /var/tmp": lambda: no(lambda: run_a_copy("/var/tmp")),
    "run what it wrote into /dev/shm": lambda: no(lambda: run_a_copy("/dev/shm")),
    "listen to the network": lambda: no(lambda: socket.socket(AF_PACKET, socket.SOCK_RAW, ETH_P_ALL)),
    "use netlink": lambda: no(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    "look into processes": lambda: no(lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0)),
    "write code": lambda: no(lambda: mmap.mmap(-1, 4096, prot=WRITE_AND_RUN)),
    "make a user namespace": lambda: no(lambda: call("unshare", CLONE_NEWUSER)),
    "mount": lambda: no(lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None)),
    "change owners": lambda: no(lambda: os.chown("/var/lib/authdrift/authdrift.db", 0, 0)),
    "rename the machine": lambda: no(lambda: call("sethostname", b"probed", 6)),
    "see other processes": lambda: no(see_others),
    "be privileged": lambda: no(be_privileged),
    "(not) write its state": lambda: works(lambda: write("/var/lib/authdrift/allowed")),
    "(not) read its configuration": lambda: works(lambda: open("/etc/authdrift/config.toml").read()),
    "(not) read its credential": lambda: works(
        lambda: open(os.environ["CREDENTIALS_DIRECTORY"] + "/clerk-prod").read()),
    "(not) use TCP": lambda: works(lambda: socket.create_connection(("127.0.0.1", 8443)).close()),
}

good = 0
for what, is_as_expected in EXPECTED.items():
    if is_as_expected():
        good += 1
    else:
        print(f"PROBE: it can {what}")
print(f"PROBE: {good} of {len(EXPECTED)} as it should be")
