"""Zip archives: their members as files, and what is refused in them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from modelyard_runtimes.tables.rows import Unreadable

MOST_MEMBERS = 10_000
MOST_BYTES = 4 << 30
"""Size of all members together after decompression."""
MOST_RATIO = 200
"""Decompressed to compressed size, for members over SMALL_BYTES."""
SMALL_BYTES = 10 << 20
_CHUNK = 1 << 20


def check_members(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that would grow too large.

    Raises:
        Unreadable: it has too many members, or grows too much.
    """
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if len(members) > MOST_MEMBERS or total > MOST_BYTES:
        raise Unreadable(
            "ArchiveTooLarge",
            f"{len(members)} members with {total} bytes; at most {MOST_MEMBERS} with {MOST_BYTES} "
            "are read: unpack the archive and give the directory",
        )
    for member in members:
        grown = member.file_size > SMALL_BYTES
        if grown and member.file_size > MOST_RATIO * max(member.compress_size, 1):
            raise Unreadable(
                "ArchiveTooLarge",
                f"a member grows more than {MOST_RATIO} times, as in a zip bomb; unpack it first",
            )


def read_members(data: bytes) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Yield name and bytes of the files of an archive, or why a file is refused, ordered by name.

    Raises:
        Unreadable: the archive as a whole is damaged or would grow too large.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise Unreadable("BrokenArchive", "the zip archive is damaged; pack it again") from error
    with archive:
        check_members(archive)
        for member in sorted(archive.infolist(), key=lambda info: info.filename):
            if not member.is_dir():
                yield member.filename, _read_member(archive, member)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | Unreadable:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return Unreadable("HostilePath", "the path leaves the archive; pack it again")
    if member.flag_bits & 1:
        return Unreadable("EncryptedMember", "the member is encrypted; unpack the archive first")
    try:
        return _bounded(archive, member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
        return Unreadable("BrokenArchive", "the member is damaged; pack the archive again")


def _bounded(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | Unreadable:
    """Return the bytes of a member that is no larger than it says."""
    parts: list[bytes] = []
    size = 0
    with archive.open(member) as stream:
        while part := stream.read(_CHUNK):
            size += len(part)
            if size > member.file_size:
                return Unreadable("ArchiveTooLarge", "the member is larger than it says")
            parts.append(part)
    return b"".join(parts)
