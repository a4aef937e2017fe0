"""Start the boot script of a function with files as on Lambda.

The command is `python -c THIS BOOT CODE RUNTIME MEGABYTES LAYERS [ARGUMENTS OF BOOT]`.

The code is in /var/task and read-only. With MEGABYTES over 0, the process has an empty /tmp of this size of its own, in
memory, and can write no other files. With LAYERS, their folder is in /opt.

An ordinary user may do this in a user and a mount namespace of the process (user_namespaces(7), mount_namespaces(7))
where the kernel allows it. The rest of /var remains. It imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import sys

TASK_ROOT = "/var/task"
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_NOSUID, _MS_NODEV = 2, 4
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
# mount_setattr(2), since Linux 5.12. Unlike a remount, it keeps the other flags of the mount.
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
_libc = ctypes.CDLL(None, use_errno=True)


def isolate(code: str, megabytes: int, layers: str) -> None:
    """Mount `code` as TASK_ROOT, `layers` as /opt, and a /tmp of so many megabytes; the last two if there are any.

    Raises OSError if the kernel refuses.
    """
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _mount("none", "/", _MS_REC | _MS_PRIVATE)
    if not os.path.isdir(TASK_ROOT):
        _make_task_root()
    _mount(code, TASK_ROOT, _MS_BIND)
    if layers:
        _mount(layers, "/opt", _MS_BIND)
    if megabytes:
        _make_read_only("/", _AT_RECURSIVE)
        _mount("tmpfs", "/tmp", _MS_NOSUID | _MS_NODEV, "tmpfs", f"size={megabytes}m,mode=1777")  # noqa: S108
    else:
        for path in (TASK_ROOT, "/opt") if layers else (TASK_ROOT,):
            _make_read_only(path, 0)
    os.chdir(TASK_ROOT)


def _make_task_root() -> None:
    """Put an empty file system over /var, which an ordinary user cannot write, and what was there into it."""
    parent = os.path.dirname(TASK_ROOT)
    entries = list(os.scandir(parent))
    links = {entry.path: os.readlink(entry.path) for entry in entries if entry.is_symlink()}
    folders = {entry.path: os.open(entry.path, os.O_PATH) for entry in entries if entry.is_dir(follow_symlinks=False)}
    _mount("tmpfs", parent, 0, "tmpfs", "mode=755")
    for path, target in links.items():
        os.symlink(target, path)
    for path, descriptor in folders.items():
        os.mkdir(path)
        _mount(f"/proc/self/fd/{descriptor}", path, _MS_BIND | _MS_REC)
        os.close(descriptor)
    os.mkdir(TASK_ROOT)


def _make_read_only(path: str, flags: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, attributes, size))


def _mount(source: str, target: str, flags: int, kind: str = "", options: str = "") -> None:
    names = [text.encode() or None for text in (source, target, kind)]
    _check(_libc.mount(*names, ctypes.c_ulong(flags), options.encode() or None))


def _check(result: int) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("Only Linux has user namespaces.")
    boot, code, runtime, megabytes, layers = sys.argv[1:6]
    sys.path[0] = runtime
    isolate(code, int(megabytes), layers)
    del sys.argv[1:6]
    exec(boot)  # noqa: S102 - our own script
