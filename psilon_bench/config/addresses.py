"""Addresses of tracking servers: sqlite files are found again from any folder, and secrets are never shown."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, PlainSerializer

from psilon_bench.errors import UsageError

ADDRESS = re.compile(r"[A-Za-z][\w+.-]*\\?://\S+")  # with a backslash as Hydra escapes it
# up to the last @ before the path; and where a password holds a slash, which no library would read as one
LOGIN = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#@:]*:(?!\d*(?:[/?#]|$)).*@)")
SECRET = re.compile(r"(?i)([?&;][\w.-]*(?:pass|pwd|token|secret|credential|key|odbc_connect)[\w.-]*=)[^&;#]*")


def redacted(text: str) -> str:
    """Return the text without the passwords of the addresses in it: http://me:secret@host becomes http://host.

    A database keeps its user, postgresql://me@host/db. A regular expression does it, for it must also find what no
    library takes for an address.
    """
    return ADDRESS.sub(lambda found: without_secrets(found[0]), text)


def without_secrets(address: str) -> str:
    """Return one address as it may be written down; the name of an sqlite file is no secret, whatever it holds."""
    if address.startswith(("sqlite", "file:")):
        return address
    keeps_user = not address.startswith("http")
    bare = LOGIN.sub(lambda found: user_of(found[0]) if keeps_user else "", address)
    return SECRET.sub(r"\1***", bare)


def user_of(login: str) -> str:
    """Return `me@` of `me:secret@`."""
    return login.rstrip("@").partition(":")[0] + "@"


def resolved(uri: str) -> str:
    """Return the address as it is valid in any working folder: an sqlite file by its absolute path."""
    if not uri.startswith("sqlite"):
        return uri
    file = database_of(uri)
    return uri if file is None else sqlite_uri(file)


def sqlite_uri(file: Path) -> str:
    """Return sqlite:///FILE, from which SQLAlchemy makes this very file; UsageError where it cannot."""
    path = file.absolute().as_posix()
    plain = f"sqlite:///{path}"
    if not set(path) & set("?%"):
        return plain
    from sqlalchemy.engine import make_url  # takes .2 s, and only versions from 2.1 on unquote

    every = (plain, "sqlite:///" + quote(path, safe="".join(set(path) - set("?%"))))
    for uri in every:
        if make_url(uri).database == path:
            return uri
    raise UsageError(
        f"the address of an sqlite file cannot hold ? or %: {path}. Take another folder, or tracking=none."
    )


def database_of(uri: str) -> Path | None:
    """Return the file of sqlite:///FILE; None where the address names no file."""
    name = uri.partition("://")[2][1:]
    if set(name) & set("?%"):
        from sqlalchemy.engine import make_url

        name = make_url(uri).database or ""
    return None if name in ("", ":memory:") or name.startswith("file:") else Path(name)


TrackingUri = Annotated[str, AfterValidator(resolved), PlainSerializer(redacted)]
