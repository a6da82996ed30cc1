"""Files that root writes where others may have put something: made new, never through a link, owned by who called sudo
(or by root, where they are a lab's own state).

    open the directory step by step  ->  a new file under a name of its own  ->  its owner  ->  rename over the old one

A run, a study or a workshop that came from elsewhere may hold a link to any file of the machine. Nothing here follows
one, and nothing writes into a file that was there before (another name of it may be anywhere). Errors are OSErrors
whose strerror says what was found.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

Identity = tuple[int, int]      # device and inode of a directory: a name that cannot be moved to another one
LINK = "a symbolic link, which is not followed"
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def caller() -> tuple[int, int] | None:
    """User and group who called us through sudo; None where we are not root, or root of its own accord."""
    try:
        user, group = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    except (KeyError, ValueError):
        return None
    return (user, group) if os.geteuid() == 0 and user > 0 and group >= 0 else None


def followed(path: Path) -> Path:
    """The absolute path with its links followed, for root only those that may be: a link of somebody leads root only
    to a directory of the same owner. Raises OSError for another one."""
    real = Path(os.path.realpath(path))
    if os.geteuid() != 0:
        return real
    whole = path.absolute()
    for step in (whole, *whole.parents):
        if step.is_symlink() and (owner := step.lstat().st_uid) != 0 and _owner_of(step) != owner:
            raise OSError(errno.ELOOP, f"{step}, a symbolic link to a directory of another owner")
    return real


def _owner_of(link: Path) -> int:
    """Who owns what a link leads to, or the directory in which that would be made."""
    target = Path(os.path.realpath(link))
    while not target.exists():
        target = target.parent
    return target.stat().st_uid


def write_whole(path: Path, content: bytes, *, ours: bool = False) -> None:
    """Write a file: one that exists is whole, so a reader sees the old one or the new one. What is there must be a
    plain file, or nothing. ours: it is the lab's own state, and stays root's."""
    with _directory(path.parent) as there:
        _check_plain(path.name, there)
        part = f".{path.name}.{secrets.token_hex(4)}.part"
        try:
            with os.fdopen(_new(part, there, None if ours else caller()), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path.name, src_dir_fd=there, dst_dir_fd=there)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=there)
            raise


def new_file(path: Path) -> int:
    """A descriptor of an empty file in the place of a plain one, or of nothing."""
    with _directory(path.parent) as there:
        _check_plain(path.name, there)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=there)
        return _new(path.name, there, caller())


def append(path: Path) -> int:
    """A descriptor that adds to a plain file with no other name, made if it is not there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with _directory(path.parent) as there:
        try:
            return _new(path.name, there, caller(), flags)
        except FileExistsError:
            _check_plain(path.name, there)
        opened = os.open(path.name, flags | os.O_NONBLOCK, dir_fd=there)
    if os.fstat(opened).st_nlink > 1:
        os.close(opened)
        raise OSError(errno.EMLINK, "a file that has another name as well")
    return opened


def check_writable(path: Path) -> None:
    """Whether write_whole would do, before what takes long. Raises OSError."""
    with _directory(path.parent) as there:
        _check_plain(path.name, there)
        part = f".{path.name}.{secrets.token_hex(4)}.part"
        os.close(_new(part, there, caller()))
        os.unlink(part, dir_fd=there)


def make_directory(path: Path) -> Path:
    """A directory with all above it, if they are not there yet; those that are made belong to the caller. Its path
    without links."""
    real = followed(path)
    missing = []
    while not real.exists():
        missing.append(real.name)
        real = real.parent
    for name in reversed(missing):
        with _directory(real) as there, contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=there)
            _give_directory(name, there)
        real /= name
    if not real.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return real


def identity(directory: Path) -> Identity:
    """What tells a directory from another one that takes its name."""
    found = directory.lstat()
    return found.st_dev, found.st_ino


def hand_over(directory: Path, made: Identity) -> None:
    """Give the caller a directory that we made (`made`: its identity then) and kept to ourselves, with all in it.

    Files first and directories after them: as long as one is ours nobody else can put anything into it.
    """
    who = caller()
    if who is None:
        return
    top = os.open(directory, os.O_RDONLY | _DIRECTORY)
    try:
        found = os.fstat(top)
        if (found.st_dev, found.st_ino) != made:
            raise OSError(errno.ESTALE, "a directory other than the one that was made")
        for _, _, files, here in os.fwalk(".", topdown=False, follow_symlinks=False, dir_fd=top):
            for name in files:
                each = os.stat(name, dir_fd=here, follow_symlinks=False)
                if stat.S_ISREG(each.st_mode) and each.st_nlink == 1 and each.st_uid == os.geteuid():
                    os.chown(name, *who, dir_fd=here, follow_symlinks=False)
            _give(here)
    finally:
        os.close(top)


def link_in(directory: Path) -> Path | None:
    """The first link below a directory, if there is any."""
    for here, folders, files in os.walk(directory):
        for name in sorted((*folders, *files)):
            if (Path(here) / name).is_symlink():
                return Path(here) / name
    return None


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory, opened step by step: a link that takes a step's place meanwhile is not followed."""
    real = followed(path)
    here = os.open("/", os.O_PATH | _DIRECTORY)
    try:
        for name in real.parts[1:]:
            deeper = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=here)
            os.close(here)
            here = deeper
        yield here
    finally:
        os.close(here)


def _check_plain(name: str, there: int) -> None:
    try:
        mode = os.stat(name, dir_fd=there, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, LINK)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a device or a pipe")


def _new(name: str, there: int, owner: tuple[int, int] | None, flags: int = os.O_WRONLY) -> int:
    made = os.open(name, flags | _NEW, 0o644, dir_fd=there)
    if owner is not None:
        os.fchown(made, *owner)
    return made


def _give_directory(name: str, there: int) -> None:
    if caller() is None:
        return
    made = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=there)
    try:
        _give(made)
    finally:
        os.close(made)


def _give(directory: int) -> None:
    """A directory that is still root's to the caller."""
    who = caller()
    if who is not None and os.fstat(directory).st_uid == os.geteuid():
        os.fchown(directory, *who)
