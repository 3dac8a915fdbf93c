"""Locks between processes, on file systems that have them."""

from __future__ import annotations

import errno
import fcntl

# Lustre without the mount option flock, some cluster and FUSE file systems, NFS without its lock service.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF}


def lock(handle: int, *, wait: bool) -> bool | None:
    """Lock an open file until it is closed or the process ends.

    Args:
        handle: file descriptor, opened for writing, which NFS requires.
        wait: whether to wait while another process holds the lock.

    Returns:
        Whether the lock is held; None if the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True
