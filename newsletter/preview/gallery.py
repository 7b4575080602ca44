"""All specimens, printed anew whenever a template was saved."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from newsletter.app import App
from newsletter.delivery.models import Mail
from newsletter.preview.shown import Shown, show
from newsletter.rendering.overrides import own_files
from newsletter.rendering.templates import template_folders
from newsletter.rendering.trial import Trial
from newsletter.specimens import prepare, tried


@dataclass(frozen=True, slots=True)
class Hung:
    """What there is to see.

    :ivar version: another one for every change to a template.
    :ivar shown: each mail's forms by their names in addresses.
    :ivar errors: of the other mails, what is wrong with their templates.
    """

    version: str
    shown: Mapping[Mail, Mapping[str, Shown]]
    errors: Mapping[Mail, str]


class Gallery:
    """Prints specimens in another process, so that no template can take the preview down with it.

    :param own: the operator's folder of templates, which may be broken, and mended while we look.
    :ivar mails: which of them hang there.
    """

    def __init__(self, app: App, own: Path | None, mails: Sequence[Mail] = tuple(Mail)) -> None:
        self._app = app
        self._own = own
        self.mails = tuple(mails)
        self._folders = template_folders(own)
        self._lock = Lock()
        self._hung: Hung | None = None
        self._next: Trial | None = None

    def version(self) -> str:
        """Return what is another text as soon as a template is saved, made or removed."""
        found = hashlib.sha256()
        for folder in self._folders:
            for path in (folder / name for name in own_files(folder)):
                found.update(f"{path}\0{_stamp(path)}\0".encode("utf-8", "surrogateescape"))
        return found.hexdigest()[:16]

    def hung(self) -> Hung:
        """Return what there is to see now; who comes while it is printed waits for it."""
        with self._lock:
            version = self.version()  # before it is printed: what is saved meanwhile is printed next time
            if self._hung is None or self._hung.version != version:
                self._hung = self._print(version)
            return self._hung

    def close(self) -> None:
        """End the process that waits."""
        with self._lock:
            if self._next:
                self._next.close()
            self._next = None

    def _print(self, version: str) -> Hung:
        shown: dict[Mail, dict[str, Shown]] = {}
        errors: dict[Mail, str] = {}
        begun, self._next = self._next, None
        for mail, found in tried(self._app, self._own, self.mails, begun):
            if isinstance(found, str):
                errors[mail] = found
            else:
                views = [show(each) for each in found]
                shown[mail] = {each.name: each for each in views}
        self._next = prepare()  # loads what it needs while somebody looks
        return Hung(version, shown, errors)


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:  # removed while we looked
        return ""
    return f"{found.st_mtime_ns} {found.st_size}"
